"""From settings to who is let in: TLS of the ports, and what tells callers apart."""

import ssl

import grpc
from linnet_runtime.rpc.certificates import CertificateFiles, grpc_credentials

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
    files = settings.certificate_files(settings.tls_client_ca_file if clients else None)
    return None if files is None else grpc_credentials(files)


def web_context(settings: GatewaySettings) -> ssl.SSLContext | None:
    """Make the TLS context of the HTTP port; None for plain text.

    Raises:
        InvalidInput: The files can't be used.
    """
    files = settings.certificate_files(settings.tls_client_ca_file)
    return None if files is None else _following_context(files)


def _following_context(files: CertificateFiles) -> ssl.SSLContext:
    # Called in each handshake, also where the client names no server.
    def follow(connection: ssl.SSLObject, _name: str, _context: ssl.SSLContext) -> None:
        connection.context = files.current().context

    context = files.current().context
    context.sni_callback = follow
    return context


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
