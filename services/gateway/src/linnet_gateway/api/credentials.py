"""From settings to who is let in: TLS of the ports, and what tells callers apart."""

import ssl

import grpc

from linnet_gateway.api.certificates import (
    CertificateFiles,
    following_context,
    grpc_credentials,
)
from linnet_gateway.api.identity import (
    Authenticator,
    Identity,
    OidcSettings,
    OidcTokens,
    StaticTokens,
)
from linnet_gateway.api.tokens_file import TokensFile
from linnet_gateway.settings import GatewaySettings


def server_credentials(
    settings: GatewaySettings, *, clients: bool
) -> grpc.ServerCredentials | None:
    """Make the TLS credentials of a gRPC port; None for plain text.

    Args:
        settings: Name the files.
        clients: Whether callers must present a certificate where authorities are named.

    Raises:
        InvalidInput: The files can't be used.
    """
    files = _files(settings, clients=clients)
    return None if files is None else grpc_credentials(files)


def web_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """Make the TLS context of the HTTP port; None for plain text.

    Raises:
        InvalidInput: The files can't be used.
    """
    files = _files(settings, clients=True)
    return None if files is None else following_context(files)


def _files(settings: GatewaySettings, *, clients: bool) -> CertificateFiles | None:
    chain, key = settings.tls_certificate_file, settings.tls_key_file
    if chain is None or key is None:
        return None
    return CertificateFiles(chain, key, settings.tls_client_ca_file if clients else None)


def identity_of(settings: GatewaySettings) -> Identity:
    """Make what tells callers apart; raises `InvalidInput` for a tokens file that can't be used."""
    authenticators: list[Authenticator] = []
    if settings.api_token is not None:
        authenticators.append(StaticTokens.admin(settings.api_token.get_secret_value()))
    if settings.tokens_file is not None:
        authenticators.append(TokensFile(settings.tokens_file))
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
