FROM python:3.11-slim AS build
RUN pip install --no-cache-dir uv==0.13.9 && python -m venv --without-pip /venv
WORKDIR /source
# The dependencies change less often than the code, and their layer stays.
COPY requirements.lock requirements-dev.lock ./
RUN uv pip install --no-cache --compile-bytecode --python /venv/bin/python --require-hashes -r requirements.lock
COPY pyproject.toml README.md LICENSE ./
COPY schemas schemas
COPY infra infra
COPY pipeline pipeline
RUN uv pip install --no-cache --compile-bytecode --python /venv/bin/python --no-deps \
    --build-constraints requirements-dev.lock .

FROM python:3.11-slim
RUN useradd --system --uid 10001 --user-group --no-create-home liquidations \
    # A new volume that is mounted here has this owner.
    && install --directory --owner=10001 --group=10001 /var/lib/liquidations
COPY --from=build /venv /venv
COPY infra/compose/check_member.py /usr/local/lib/liquidations/check_member.py
COPY infra/compose/check_ingest.py /usr/local/lib/liquidations/check_ingest.py
ENV PATH=/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
# Nothing is written but scratch files and ingest's spool; compose mounts everything else read-only.
WORKDIR /tmp
ENTRYPOINT ["liquidations"]
CMD ["--help"]
