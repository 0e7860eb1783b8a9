"""From settings to who is let in: TLS of the ports, and what tells callers apart."""

import json
import ssl
from typing import Any

import grpc
from linnet_runtime.errors import InvalidInput

from linnet_gateway.api.access import Principal, Role
from linnet_gateway.api.identity import (
    Authenticator,
    Identity,
    OidcSettings,
    OidcTokens,
    StaticTokens,
)
from linnet_gateway.settings import GatewaySettings


def server_credentials(
    settings: GatewaySettings, *, clients: bool
) -> grpc.ServerCredentials | None:
    """Make the TLS credentials of a gRPC port; None for plain text.

    Args:
        settings: Name the files.
        clients: Whether callers must present a certificate where authorities are named.
    """
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return None
    authority = settings.tls_client_ca_file if clients else None
    return grpc.ssl_server_credentials(
        [(settings.tls_key_file.read_bytes(), settings.tls_certificate_file.read_bytes())],
        root_certificates=None if authority is None else authority.read_bytes(),
        require_client_auth=authority is not None,
    )


def uvicorn_tls(settings: GatewaySettings) -> dict[str, Any]:
    """Give uvicorn's TLS arguments; empty for plain text."""
    if settings.tls_certificate_file is None or settings.tls_key_file is None:
        return {}
    tls: dict[str, Any] = {
        "ssl_certfile": str(settings.tls_certificate_file),
        "ssl_keyfile": str(settings.tls_key_file),
    }
    if settings.tls_client_ca_file is not None:
        tls["ssl_ca_certs"] = str(settings.tls_client_ca_file)
        tls["ssl_cert_reqs"] = ssl.CERT_REQUIRED
    return tls


def identity_of(settings: GatewaySettings) -> Identity:
    """Make what tells callers apart; raises `InvalidInput` for a tokens file that can't be used."""
    authenticators: list[Authenticator] = []
    if settings.api_token is not None:
        authenticators.append(StaticTokens.admin(settings.api_token.get_secret_value()))
    if settings.tokens_file is not None:
        authenticators.append(StaticTokens(_read_tokens(settings)))
    if settings.oidc_issuer:
        authenticators.append(
            OidcTokens(
                OidcSettings(
                    issuer=settings.oidc_issuer,
                    audience=settings.oidc_audience,
                    jwks_url=settings.oidc_jwks_url,
                    algorithms=settings.oidc_algorithms,
                    roles_claim=settings.oidc_roles_claim,
                )
            )
        )
    return Identity(authenticators)


def _read_tokens(settings: GatewaySettings) -> dict[str, Principal]:
    assert settings.tokens_file is not None
    try:
        entries = json.loads(settings.tokens_file.read_text())
        return {
            str(entry["sha256"]): Principal(
                str(entry["subject"]),
                {str(p): Role[str(r).upper()] for p, r in entry["roles"].items()},
            )
            for entry in entries
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput.of(
            "LINNET_GATEWAY_TOKENS_FILE",
            f'expected a list of {{"subject", "sha256", "roles"}}: {type(error).__name__}',
        ) from error
