# headless-worker as an image: `worker run` as PID 1, or any other command (`worker once` in a CronJob).
# How to run it: docs/deployment.md. It holds no configuration and no key: both are mounted.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
RUN python -m venv /opt/worker
COPY requirements.lock .
# Built packages only, each with its hash: nothing is compiled, here or later.
RUN /opt/worker/bin/pip install --require-hashes --no-deps --only-binary :all: -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY worker/ worker/
COPY jobs/ jobs/
# The build back end comes from the lock, too. It does not go along, and neither does pip.
RUN /opt/worker/bin/pip install --no-deps --no-build-isolation --no-index . \
    && /opt/worker/bin/pip uninstall --yes hatchling editables pathspec pluggy trove-classifiers pip \
    && python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/worker/lib

FROM python:3.13-slim
COPY --from=build /opt/worker /opt/worker
COPY jobs/ /opt/worker/jobs/
# The state folder is made here so that a new volume takes over its owner and mode.
RUN groupadd --system --gid 10001 worker \
    && useradd --system --uid 10001 --gid worker --home-dir /var/lib/worker --no-create-home --shell /usr/sbin/nologin worker \
    && install -d -o worker -g worker -m 0700 /var/lib/worker
ENV PATH=/opt/worker/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    WORKER_CONFIG=/etc/worker/config.toml
# By number, so that Kubernetes can tell that it is not root.
USER 10001:10001
WORKDIR /var/lib/worker
VOLUME ["/var/lib/worker"]
STOPSIGNAL SIGTERM
# Whether the daemon works, not whether an account needs consent: no restart would mend that.
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 CMD ["worker", "status", "--alive"]
ENTRYPOINT ["worker"]
CMD ["run"]
