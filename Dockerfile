# One image for every part: `docker run IMAGE discovery`, `… gateway`, `… lock`, `… master`, `… worker`.
ARG PYTHON=python:3.11.13-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev \
 && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/roost
# The dependencies first: they change seldom, and a layer that did not change is not made again.
COPY pyproject.toml constraints.txt ./
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
print(*project['dependencies'], *project['optional-dependencies']['jwt'], sep='\n')" > requirements.txt \
 && /opt/roost/bin/pip install --constraint constraints.txt --requirement requirements.txt
COPY README.md LICENSE ./
COPY wire wire
COPY discovery discovery
COPY gateway gateway
COPY backend backend
COPY roost roost
RUN /opt/roost/bin/pip install --no-deps . \
 && cd / && /opt/roost/bin/python -c "from roost.gateway.compiled import is_compiled; assert is_compiled" \
 && /opt/roost/bin/python -m compileall -q /opt/roost/lib

FROM ${PYTHON}
RUN useradd --system --uid 10001 --home-dir /nonexistent --shell /usr/sbin/nologin roost
COPY --from=build /opt/roost /opt/roost
COPY deploy/roost-ready /usr/local/bin/
ENV PATH=/opt/roost/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ROOST_HOST=0.0.0.0 ROOST_ADMIN_HOST=0.0.0.0 ROOST_ADMIN_PORT=8080
USER roost
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["roost-ready"]
ENTRYPOINT ["roost"]
CMD ["--help"]
