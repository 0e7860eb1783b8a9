# The trainer's image. Build from the repository's root:
#   docker build -f deploy/images/trainer.Dockerfile -t linnet-trainer .
# Both bases must have Python 3.11 at the same path; the second must have uv too.
ARG BASE=docker.io/library/python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
ARG BUILD_BASE=ghcr.io/astral-sh/uv:python3.11-bookworm-slim@sha256:4f5d923c9dcea037f57bda425dd209f3ec643da2f0b74227f68d09dab0b3bb36

FROM ${BUILD_BASE} AS lock
WORKDIR /source
COPY deploy/images/install.sh deploy/images/narrow_lock.py /usr/local/bin/
COPY pyproject.toml uv.lock ./
RUN install.sh lock linnet-trainer

FROM ${BUILD_BASE} AS dependencies
WORKDIR /source
COPY deploy/images/install.sh /usr/local/bin/
COPY --from=lock /lock ./
RUN install.sh dependencies linnet-trainer

FROM dependencies AS program
COPY pyproject.toml uv.lock ./
COPY protos protos
COPY libs libs
COPY services/trainer services/trainer
RUN install.sh program linnet-trainer

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
LABEL org.opencontainers.image.title="linnet-trainer" \
      org.opencontainers.image.description="Trains the runs of one shard and uploads their models" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0"
# Nothing is installed at run time, so the base's own installer goes.
RUN rm -rf /usr/local/lib/python3.11/site-packages/* /usr/local/lib/python3.11/ensurepip /usr/local/bin/pip*
COPY --from=dependencies /dependencies /
COPY --from=program /program /
ENV PATH=/app/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
# Keras writes its configuration below its home, and the root file system is read-only.
ENV KERAS_HOME=/tmp/keras TF_CPP_MIN_LOG_LEVEL=2
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["linnet-trainer"]
