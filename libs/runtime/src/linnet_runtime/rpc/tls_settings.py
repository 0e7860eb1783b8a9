"""Settings of a process whose ports may speak TLS."""

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from linnet_runtime.rpc.certificates import CertificateFiles
from linnet_runtime.settings import ServiceSettings


class TlsSettings(ServiceSettings):
    """Base of the settings of each service that may show a certificate."""

    tls_certificate_file: Path | None = None
    """Certificate chain of its ports, PEM; without one they speak plain text."""
    tls_key_file: Path | None = Field(default=None, validate_default=True)
    """Key of the certificate, PEM."""

    @field_validator("tls_key_file")
    @classmethod
    def _goes_with_a_certificate(cls, key: Path | None, info: ValidationInfo) -> Path | None:
        if (key is None) != (info.data.get("tls_certificate_file") is None):
            raise ValueError("TLS_CERTIFICATE_FILE and TLS_KEY_FILE go together")
        return key

    def certificate_files(self, authorities: Path | None = None) -> CertificateFiles | None:
        """Read what the ports show; None for plain text.

        Args:
            authorities: File of those that sign callers' certificates; None asks for none.

        Raises:
            InvalidInput: The files can't be used.
        """
        if self.tls_certificate_file is None or self.tls_key_file is None:
            return None
        return CertificateFiles(
            self.tls_certificate_file,
            self.tls_key_file,
            authorities,
            setting=f"{self.model_config.get('env_prefix', '')}TLS_CERTIFICATE_FILE",
        )
