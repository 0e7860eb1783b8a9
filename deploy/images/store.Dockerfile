# The object store of a trial installation: SeaweedFS. Build from the repository's root:
#   docker build -f deploy/images/store.Dockerfile -t linnet-store .
# Tags, because no digest could be checked where this was written; give digests when you publish.
ARG BASE=python:3.11-slim-bookworm
ARG BUILD_BASE=ghcr.io/astral-sh/uv:python3.11-bookworm-slim

FROM ${BUILD_BASE} AS lock
WORKDIR /source
COPY deploy/images/install.sh /usr/local/bin/
COPY pyproject.toml uv.lock ./
RUN install.sh lock

FROM ${BUILD_BASE} AS dependencies
WORKDIR /source
COPY deploy/images/install.sh /usr/local/bin/
COPY --from=lock /lock ./
RUN install.sh dependencies linnet

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="linnet-store" \
      org.opencontainers.image.description="SeaweedFS, the object store of a trial installation" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN rm -rf /usr/local/lib/python3.11/site-packages/* /usr/local/lib/python3.11/ensurepip /usr/local/bin/pip*
COPY --from=dependencies /app/bin/weed /usr/local/bin/weed
USER 10001:10001
WORKDIR /tmp
EXPOSE 8333
ENTRYPOINT ["weed"]
