"""Roles: every method of the contract has one, and nobody else may call it."""

from typing import Any

import pytest
from google.protobuf import message_factory
from linnet.v1 import runner_service_pb2
from linnet_gateway.api.access import METHODS, MUTATING, Principal, Role, check_role, resource_of
from linnet_gateway.api.method_names import SERVICE, snake_case
from linnet_gateway.api.training_api import TrainingApi
from linnet_runtime.errors import PermissionDenied

NAMES = sorted(SERVICE.methods_by_name)
_CHANGING = (
    "Create",
    "Delete",
    "Cancel",
    "Suspend",
    "Resume",
    "Retry",
    "Finalize",
    "Update",
    "Export",
)


def request_of(method: str) -> Any:
    """Make a request of a method about project demo."""
    kind = message_factory.GetMessageClass(SERVICE.methods_by_name[method].input_type)
    request = kind()
    if method == "CreateBatch":
        request.header.parent = "projects/demo"
    elif "parent" in kind.DESCRIPTOR.fields_by_name:
        request.parent = "projects/demo"
    elif "name" in kind.DESCRIPTOR.fields_by_name:
        request.name = "projects/demo/runs/one"
    return request


def test_every_method_has_a_role() -> None:
    """A method that is added to the contract is closed, and fails here, until it has a role."""
    assert sorted(METHODS) == NAMES
    assert all(hasattr(TrainingApi, snake_case(name)) for name in NAMES)


def test_trainers_methods_are_no_methods_of_callers() -> None:
    """No role opens what only trainers may call."""
    service = runner_service_pb2.DESCRIPTOR.services_by_name["RunnerService"]
    for method in service.methods_by_name:
        assert method not in METHODS
        with pytest.raises(PermissionDenied) as caught:
            check_role(method, Principal("root", {"*": Role.ADMIN}), None)
        assert caught.value.reason == "METHOD_CLOSED"


@pytest.mark.parametrize("method", [name for name in NAMES if METHODS.get(name)])
def test_a_method_needs_its_role_in_its_project(method: str) -> None:
    """The role below, and any role in another project, is refused; the role itself is enough."""
    request, needed = request_of(method), METHODS[method]
    assert resource_of(request).startswith("projects/demo")
    for roles in ({}, {"other": Role.ADMIN}, {"demo": Role(needed - 1)}, {"dem": Role.ADMIN}):
        with pytest.raises(PermissionDenied) as caught:
            check_role(method, Principal("ann", roles), request)
        assert caught.value.reason == "ROLE_REQUIRED"
    check_role(method, Principal("ann", {"demo": needed}), request)


def test_what_changes_something_is_audited_and_no_viewers() -> None:
    """Every method whose name says that it changes something is mutating, no other one is."""
    assert {name for name in NAMES if name.startswith(_CHANGING)} == MUTATING
