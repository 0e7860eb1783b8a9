"""What may be asked of the profiler besides its boards: custom targets, the real interpreter."""

import grpc
import pytest
from linnet.v1 import profile_pb2, profiler_service_pb2_grpc, run_pb2
from linnet.v1 import profiler_service_pb2 as pb
from linnet_profiler.interpreter.check import check_on_interpreter
from linnet_runtime.errors import InvalidInput

from tests.support.changed_models import with_dead_softmax, with_gelu
from tests.support.hostile_models import long_chain
from tests.support.profiler_process import model_file, network, profiler, refusal


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with profiler(tmp_path_factory.mktemp("profiler")) as endpoints:
        yield endpoints


@pytest.fixture
def stub(service):
    with grpc.insecure_channel(service["address"]) as channel:
        yield profiler_service_pb2_grpc.ProfilerServiceStub(channel)


def _mine(**fields: object) -> profile_pb2.CustomTarget:
    numbers = {"core": "cortex-m33", "clock_hz": 10**8, "ram_bytes": 2**15, "flash_bytes": 2**18}
    return profile_pb2.CustomTarget(**{"name": "mine", **numbers, **fields})


def test_a_custom_target_stands_where_an_id_does(stub):
    """A few numbers give a profile, estimated within a factor of 2; it may be the smallest."""
    request = pb.ProfileRequest(
        models=[pb.ProfiledModel(content=model_file("dense00_i8"))], custom_targets=[_mine()]
    )
    alone = stub.Profile(request)
    request.targets.append("esp32-s3")
    beside = stub.Profile(request)

    assert [p.target for p in alone.profiles] == ["mine"]
    assert alone.smallest_target == beside.smallest_target == "mine"
    assert [p.target for p in beside.profiles] == ["esp32-s3", "mine"]
    mine = alone.profiles[0]
    assert mine.latency.basis == profile_pb2.BASIS_ESTIMATED
    assert mine.latency.high_milliseconds >= 2 * mine.latency.milliseconds
    assert mine.verdict.ram_headroom_bytes == 2**15 - mine.ram.total_bytes


def test_a_layer_list_is_estimated_for_a_custom_target(stub):
    """Estimate takes custom targets as Profile does."""
    profiles = stub.Estimate(network(custom_targets=[_mine()])).profiles

    assert [p.target for p in profiles] == ["mine", "mine"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"core": "cortex-m9"}, "core"),
        ({"core": ""}, "core"),
        ({"clock_hz": 0}, "clock_hz"),
        ({"ram_bytes": -1}, "ram_bytes"),
        ({"flash_bytes": 0}, "flash_bytes"),
        ({"kernels": "esp-nn"}, "kernels"),
        ({"name": "My board"}, "name"),
        ({"name": "esp32"}, "name"),
        ({"name": "first"}, "name"),
    ],
)
def test_a_wrong_custom_target_is_refused_by_field(stub, fields, field):
    """Each wrong number of a custom target is named with its place in the request."""
    request = pb.ProfileRequest(
        models=[pb.ProfiledModel(content=model_file("dense00_i8"))],
        custom_targets=[_mine(name="first"), _mine(**fields)],
    )

    error = refusal(lambda: stub.Profile(request))

    assert isinstance(error, InvalidInput)
    assert {one.field for one in error.violations} == {f"custom_targets[1].{field}"}


def test_the_interpreter_is_asked_in_a_sandbox(stub):
    """One check a model: agreement, a refusal with its reason, an abort that ends only a child."""
    good = model_file("dense00_i8")
    request = pb.ProfileRequest(
        models=[
            pb.ProfiledModel(content=data, variant=variant)
            for data, variant in (
                (good, run_pb2.VARIANT_INT8),
                (with_gelu(good), run_pb2.VARIANT_FLOAT32),
                (with_dead_softmax(good), run_pb2.VARIANT_INT8),
            )
        ],
        targets=["nucleo-l4r5zi"],
        check_interpreter=True,
    )

    agreed, refused, died = stub.Profile(request).checks

    assert (agreed.available, agreed.loaded, agreed.ran, agreed.agrees) == (True,) * 4
    assert agreed.arena_bytes == agreed.replayed_bytes == check_on_interpreter(good).arena_bytes
    assert agreed.variant == run_pb2.VARIANT_INT8
    assert not refused.loaded
    assert not refused.HasField("arena_bytes")
    assert "GELU" in refused.problem
    assert refused.variant == run_pb2.VARIANT_FLOAT32
    assert died.crashed
    assert not died.ran
    assert "SIGABRT" in died.problem
    request.check_interpreter = False
    assert not stub.Profile(request).checks


def test_more_profiles_than_an_answer_holds_are_refused_by_field(stub):
    """A model of 2,000 operators on every board is told to ask for fewer; one board is served."""
    request = pb.ProfileRequest(models=[pb.ProfiledModel(content=long_chain(2_000))])

    error = refusal(lambda: stub.Profile(request))
    request.targets.append("nucleo-l4r5zi")
    served = stub.Profile(request)

    assert isinstance(error, InvalidInput)
    assert error.reason == "ANSWER_TOO_LARGE"
    assert error.violations[0].field == "targets"
    assert len(served.profiles[0].operators) == 2_000
