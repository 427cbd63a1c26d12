# syntax=docker/dockerfile:1
#
# Two images from one build:
#
#   docker build --target toolgate  --tag toolgate .
#   docker build --target northwind --tag northwind .
#
# It builds for the platform it is asked for (linux/amd64, linux/arm64): natively, or under
# emulation with `docker buildx build --platform linux/amd64,linux/arm64`.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# The caches keep crates and what was built of them from one build to the next, for each platform
# by itself. They are not there in later steps, so the programs are taken out in the same step.
ARG TARGETARCH
RUN --mount=type=cache,id=toolgate-registry,target=/usr/local/cargo/registry \
    --mount=type=cache,id=toolgate-target-${TARGETARCH},target=/src/target,sharing=locked \
    cargo build --release --locked --package server --bin toolgate --package northwind --bin northwind \
    && install -D --target-directory=/out target/release/toolgate target/release/northwind
# A new volume takes over its owner from here.
RUN mkdir /data

# glibc, libgcc and root certificates; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot AS base
COPY --from=build --chown=65532:65532 /data /data
USER 65532:65532
# The settings file, toolgate.toml, is looked for here too.
WORKDIR /data
VOLUME /data
STOPSIGNAL SIGTERM

FROM base AS northwind
LABEL org.opencontainers.image.title="northwind" \
      org.opencontainers.image.description="An MCP server over one SQLite file"
COPY --from=build /out/northwind /usr/local/bin/northwind
ENV NORTHWIND_LISTEN=0.0.0.0:8080
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["northwind", "healthcheck"]
ENTRYPOINT ["northwind"]

FROM base AS toolgate
LABEL org.opencontainers.image.title="toolgate" \
      org.opencontainers.image.description="An MCP host behind Pomerium for any OpenAI-compatible model"
COPY --from=build /out/toolgate /usr/local/bin/toolgate
# Pomerium must reach it. The admin port stays on the container's own loopback, where the health
# check asks it; the database, toolgate.db, is made in the working directory.
ENV TOOLGATE_LISTEN=0.0.0.0:3000
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=10s --start-period=30s CMD ["toolgate", "healthcheck"]
ENTRYPOINT ["toolgate"]
