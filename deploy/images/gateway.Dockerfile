# The gateway's image. Build from the repository's root:
#   docker build -f deploy/images/gateway.Dockerfile -t linnet-gateway .
# Both bases must have Python 3.11 at the same path; the second must have uv too.
ARG BASE=docker.io/library/python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
ARG BUILD_BASE=ghcr.io/astral-sh/uv:python3.11-bookworm-slim@sha256:4f5d923c9dcea037f57bda425dd209f3ec643da2f0b74227f68d09dab0b3bb36

FROM ${BUILD_BASE} AS lock
WORKDIR /source
COPY deploy/images/install.sh deploy/images/narrow_lock.py /usr/local/bin/
COPY pyproject.toml uv.lock ./
RUN install.sh lock linnet-gateway

FROM ${BUILD_BASE} AS dependencies
WORKDIR /source
COPY deploy/images/install.sh /usr/local/bin/
COPY --from=lock /lock ./
RUN install.sh dependencies linnet-gateway --extra kubernetes --extra postgres

FROM dependencies AS program
COPY pyproject.toml uv.lock ./
COPY protos protos
COPY libs libs
COPY services/gateway services/gateway
RUN install.sh program linnet-gateway --extra kubernetes --extra postgres

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="linnet-gateway" \
      org.opencontainers.image.description="TrainingService and RunnerService: accepts runs, launches Jobs, keeps records" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing is installed at run time, so the base's own installer goes.
RUN rm -rf /usr/local/lib/python3.11/site-packages/* /usr/local/lib/python3.11/ensurepip /usr/local/bin/pip*
COPY --from=dependencies /dependencies /
COPY --from=program /program /
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001:10001
WORKDIR /tmp
EXPOSE 50051 50052 8080 9090
ENTRYPOINT ["linnet-gateway"]
