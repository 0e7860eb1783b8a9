"""Errors keep their meaning over a wire."""

import threading

import grpc
import pytest
from grpc_status import rpc_status
from linnet_runtime import errors
from linnet_runtime.errors import InvalidInput, Violation
from linnet_runtime.rpc.status import from_rpc_error, from_status, to_status

KINDS = [
    errors.Unauthenticated("who"),
    errors.PermissionDenied("no", reason="ROLE_MISSING", metadata={"role": "admin"}),
    errors.AlreadyExists("twice"),
    errors.Conflict("changed"),
    errors.NotAllowedInState("ended", reason="RUN_ENDED"),
    errors.QuotaExceeded("full"),
    errors.DeadlineExceeded("slow"),
    errors.Unavailable("down", retry_after_s=3),
]


@pytest.mark.parametrize("error", KINDS, ids=lambda e: type(e).__name__)
def test_an_error_comes_back_as_itself(error):
    """Class, message, reason and metadata survive the way to a status and back."""
    back = from_status(to_status(error))

    assert type(back) is type(error)
    assert (back.message, back.reason, back.metadata) == (
        error.message,
        error.reason,
        error.metadata,
    )


def test_every_wrong_field_comes_back():
    """The violations of an InvalidInput survive, in order."""
    error = InvalidInput(
        [Violation("run.spec.fit.epochs", "must be positive"), Violation("b", "c")]
    )

    back = from_status(to_status(error))

    assert isinstance(back, InvalidInput)
    assert back.violations == error.violations


@pytest.mark.parametrize("text", ["must be positive", "x" * 5000, "\u00e9\u4e16" * 3000])
async def test_many_wrong_fields_fit_into_trailers(text):
    """However many and long, violations arrive as far as they fit, with the number of others."""
    wrong = [Violation(f"runs[{n}].spec.fit.epochs", text) for n in range(500)]

    class Refusing(grpc.GenericRpcHandler):
        def service(self, handler_call_details):
            async def refuse(request, context):
                answer = rpc_status.to_status(to_status(InvalidInput(wrong, reason="WRONG")))
                await context.abort(answer.code, answer.details, answer.trailing_metadata)

            return grpc.unary_unary_rpc_method_handler(refuse)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Refusing(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/linnet.Test/Refuse")(b"", timeout=10)
    await server.stop(None)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    error = from_rpc_error(caught.value)
    assert isinstance(error, InvalidInput)
    assert error.reason == "WRONG"
    *told, more = error.violations
    assert 1 <= len(told) <= 20
    assert told[0].field == "runs[0].spec.fit.epochs"
    assert more == Violation("request", f"... and {500 - len(told)} more")


def test_how_many_more_there_are_is_not_forgotten():
    """Who searched for twenty of a hundred says so; what does not fit is added to that."""
    told = [Violation(f"f{n}", "x" * 300) for n in range(20)]
    for said, expected in (
        ("... and 80 more", "... and 94 more"),
        ("... and more", "... and more"),
    ):
        back = from_status(to_status(InvalidInput([*told, Violation("request", said)])))
        assert isinstance(back, InvalidInput)
        assert (len(back.violations), back.violations[-1].description) == (7, expected)


def test_what_came_is_told_after_a_long_list():
    """Of a description that is too long the middle is left out, not what was received."""
    wrong = f"expected one of {', '.join(f'board-{n}' for n in range(300))}, received 'abacus'"
    back = from_status(to_status(InvalidInput.of("spec.target", wrong)))
    assert isinstance(back, InvalidInput)
    [violation] = back.violations
    assert violation.description.startswith("expected one of board-0, board-1, ")
    assert violation.description.endswith(", received 'abacus'")


def test_a_missing_resource_comes_back_with_its_name():
    """NotFound keeps kind and name."""
    back = from_status(to_status(errors.NotFound("run", "projects/p/runs/r")))

    assert isinstance(back, errors.NotFound)
    assert (back.kind, back.name) == ("run", "projects/p/runs/r")


def test_an_unexpected_error_tells_nothing():
    """The text of an unexpected exception never leaves the service."""
    status = to_status(RuntimeError("password=hunter2"))

    assert "hunter2" not in str(status)
    assert from_status(status).reason == "INTERNAL"


class Ending(grpc.GenericRpcHandler):
    """Serves one method, which answers as servers do to a call that comes while they end."""

    def service(self, handler_call_details):
        async def end(request, context):
            await context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")

        return grpc.unary_unary_rpc_method_handler(end)


async def test_a_call_that_an_ending_server_gave_up_may_be_made_again():
    """It was the server that cancelled, so the call is worth another attempt."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Ending(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/linnet.Test/End")(b"", timeout=10)
    await server.stop(None)
    assert type(from_rpc_error(caught.value)) is errors.Unavailable


def test_a_call_on_a_connection_that_its_caller_closed_is_not_made_again():
    """That the caller gave up is no fault of the server."""
    server = grpc.server(None)
    port = server.add_insecure_port("127.0.0.1:0")
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    call = channel.unary_unary("/linnet.Test/Wait").future(b"", wait_for_ready=True)
    done = threading.Event()
    call.add_done_callback(lambda _: done.set())
    channel.close()
    assert done.wait(10)
    assert call.code() is grpc.StatusCode.CANCELLED
    assert type(from_rpc_error(call)) is errors.Internal
