"""The profiler as a process: real gRPC, real children, real metrics."""

import urllib.request

import grpc
import pytest
from linnet.v1 import profiler_service_pb2 as pb
from linnet.v1 import profiler_service_pb2_grpc, run_pb2, spec_pb2
from linnet_ml import wire
from linnet_ml.spec import Layer, LayerKind, LayerList
from linnet_profiler.estimate import estimate
from linnet_profiler.serving.messages import profile_message
from linnet_profiler.targets import find_target, targets
from linnet_runtime.errors import InvalidInput

from tests.support.profiler_process import model_file, network, profiler, refusal


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with profiler(tmp_path_factory.mktemp("profiler")) as endpoints:
        yield endpoints


@pytest.fixture
def stub(service):
    with grpc.insecure_channel(service["address"]) as channel:
        yield profiler_service_pb2_grpc.ProfilerServiceStub(channel)


def test_a_model_is_profiled_for_every_target(stub):
    """A model without named targets comes back with one profile a target, and the smallest."""
    targets = {t.id for t in stub.ListTargets(pb.ProfilerServiceListTargetsRequest()).targets}

    response = stub.Profile(
        pb.ProfileRequest(models=[pb.ProfiledModel(content=model_file("dense00_i8"))])
    )

    assert {profile.target for profile in response.profiles} == targets
    assert len(targets) >= 40
    assert response.smallest_target in targets
    assert all(p.ram.arena_declare_bytes >= p.ram.arena_used_bytes > 0 for p in response.profiles)


def test_kernels_without_targets_mean_every_board_that_can_have_them(stub):
    """Boards of other cores are left out; kernels that no board has are refused by name."""
    request = pb.ProfileRequest(
        models=[pb.ProfiledModel(content=model_file("dense00_i8"))], kernels="cmsis-nn"
    )

    found = {profile.target for profile in stub.Profile(request).profiles}

    assert found == {one.id for one in targets().values() if "cmsis-nn" in one.core.libraries}
    request.kernels = "none-nn"
    assert "none-nn" in refusal(lambda: stub.Profile(request)).message


def test_budgets_decide_the_verdict(stub):
    """A budget below the need makes the verdict no, with the reason."""
    request = pb.ProfileRequest(
        models=[pb.ProfiledModel(content=model_file("dense00_i8"))], targets=["cortex-m4f-80mhz"]
    )
    request.budgets.ram_bytes = 100

    profile = stub.Profile(request).profiles[0]

    assert not profile.verdict.fits
    assert not profile.verdict.ram_fits
    assert profile.verdict.ram_headroom_bytes == 100 - profile.ram.total_bytes
    assert "RAM" in profile.verdict.reasons[0]


def test_an_unknown_target_is_refused_with_its_place(stub):
    """The second of two targets is unknown: the error names it and suggests one."""
    request = pb.ProfileRequest(
        models=[pb.ProfiledModel(content=model_file("dense00_i8"))], targets=["esp32", "esp23"]
    )

    error = refusal(lambda: stub.Profile(request))

    assert isinstance(error, InvalidInput)
    assert error.reason == "TARGET_UNKNOWN"
    assert error.violations[0].field == "targets[1]"


@pytest.mark.parametrize("content", [b"", b"x", b"\0" * 64, b"TFL3" * 100])
def test_a_file_that_is_no_model_is_refused_and_the_service_goes_on(stub, content):
    """Rubbish is a named error; the next call is served."""
    error = refusal(
        lambda: stub.Profile(pb.ProfileRequest(models=[pb.ProfiledModel(content=content)]))
    )

    assert error.reason == "MODEL_INVALID"
    assert stub.ListTargets(pb.ProfilerServiceListTargetsRequest()).targets


def test_a_layer_list_is_estimated_as_in_python(stub):
    """Each variant on each target has the figures that `estimate` gives in this process."""
    request = network(targets=["nucleo-l4r5zi", "esp32-s3"])
    layers = wire.from_message(LayerList, request.layers)
    here = estimate(layers, (50, 3), 4)

    profiles = stub.Estimate(request).profiles

    assert [(p.variant, p.target) for p in profiles] == [
        (run_pb2.VARIANT_FLOAT32, "nucleo-l4r5zi"),
        (run_pb2.VARIANT_FLOAT32, "esp32-s3"),
        (run_pb2.VARIANT_INT8, "nucleo-l4r5zi"),
        (run_pb2.VARIANT_INT8, "esp32-s3"),
    ]
    for profile in profiles:
        floating = profile.variant == run_pb2.VARIANT_FLOAT32
        expected = profile_message(
            (here.float32 if floating else here.int8).profile(find_target(profile.target))
        )
        expected.variant = profile.variant
        assert profile == expected


def test_an_estimate_honours_export_clock_and_budgets(stub):
    """No int8 where the export skips it; twice the clock, half the time; a budget decides."""
    request = network(targets=["nucleo-l4r5zi"], clock_hz=60_000_000)
    request.export.skip_int8 = True
    request.budgets.flash_bytes = 1000
    slow = stub.Estimate(request)
    request.clock_hz *= 2

    fast = stub.Estimate(request)

    assert [p.variant for p in fast.profiles] == [run_pb2.VARIANT_FLOAT32]
    ratio = slow.profiles[0].latency.milliseconds / fast.profiles[0].latency.milliseconds
    assert ratio == pytest.approx(2)
    assert not fast.profiles[0].verdict.flash_fits
    assert fast.smallest_target == ""


def test_an_estimate_for_all_targets_names_the_smallest(stub):
    """Without targets every one is estimated, and the smallest on which both variants fit named."""
    response = stub.Estimate(network())

    fitting = {
        p.target for p in response.profiles if p.verdict.fits and p.variant == run_pb2.VARIANT_INT8
    }
    assert len(response.profiles) == 2 * len(targets())
    assert response.smallest_target in fitting


def test_a_layer_that_does_not_fit_is_refused_by_path(stub):
    """The error names the layer by its place in the list, disabled ones counted."""
    request = network()
    request.layers.layers[1].CopyFrom(
        wire.to_message(Layer(LayerKind.CONV2D, units=4, enabled=True), spec_pb2.Layer)
    )

    error = refusal(lambda: stub.Estimate(request))

    assert isinstance(error, InvalidInput)
    assert error.violations[0].field.startswith("architecture.layers.layers[1]")


@pytest.mark.parametrize(
    ("field", "value"), [("input_shape", [0]), ("input_shape", []), ("class_count", 0)]
)
def test_a_shape_without_elements_is_refused(stub, field, value):
    """Sizes below 1 and missing axes name their field."""
    request = network()
    request.ClearField(field)
    if isinstance(value, list):
        request.input_shape.extend(value)

    error = refusal(lambda: stub.Estimate(request))

    assert isinstance(error, InvalidInput)
    assert error.violations[0].field.startswith(field)


def test_calls_are_counted(service, stub):
    """/metrics counts calls by method and code."""
    stub.ListTargets(pb.ProfilerServiceListTargetsRequest())

    with urllib.request.urlopen(service["metrics"].replace("/metrics", "/readyz")) as health:
        assert health.status == 200
    with urllib.request.urlopen(service["metrics"]) as page:
        text = page.read().decode()

    assert 'linnet_rpc_requests_total{code="OK",method="ProfilerService/ListTargets"}' in text
