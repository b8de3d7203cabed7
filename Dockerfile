# syntax=docker/dockerfile:1
# The operator's image: the binary, the certificates of the distribution, and nothing else.
#
#   docker build --tag REGISTRY/live-message-operator:TAG .
#
# BuildKit is needed (Docker 23 or newer has it on): it keeps the crates and what was compiled of them from one build to
# the next. Both stages are of one Debian, so that the binary finds the glibc it was linked with.

ARG RUST_VERSION=1.95
FROM docker.io/library/rust:${RUST_VERSION}-bookworm AS build
WORKDIR /src
COPY . .
# The caches are of this step only: what the image is to have is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --bin live-message-operator \
    && install -D target/release/live-message-operator /out/live-message-operator

# With glibc and CA certificates, without a shell; pin it by its digest where builds are to be repeatable.
FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="live-message-operator" \
      org.opencontainers.image.description="Kubernetes operator for Alibaba Cloud Live interactive-messaging groups" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /out/live-message-operator /usr/local/bin/live-message-operator
COPY LICENSE /usr/share/doc/live-message-operator/LICENSE
# The user "nonroot" of the base, by number: the kubelet can then see that it is not root.
USER 65532:65532
EXPOSE 8081
ENTRYPOINT ["/usr/local/bin/live-message-operator"]
CMD ["run"]
