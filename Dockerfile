# The same image as `make image`, for those who have docker: docker build -t sidegate .
FROM rust:1.95-alpine AS build
RUN apk add --no-cache ca-certificates musl-dev
WORKDIR /source
COPY . .
RUN cargo build --locked --release --bin sidegate \
    && mkdir -p /image/etc/ssl/certs \
    && cp target/release/sidegate /image/ \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ \
    && ln -s sidegate /image/daprd

FROM scratch
COPY --from=build /image/ /
USER 65532:65532
# No ENTRYPOINT: the arguments of injected containers begin with /daprd.
