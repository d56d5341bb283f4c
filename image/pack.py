#!/usr/bin/env python3
"""Packs a finished static binary into a container image, without a daemon and without pulling.

The result is a tar in the OCI image layout with the `manifest.json` of `docker save` beside it, so
that `ctr images import`, `docker load`, `podman load` and `skopeo copy oci-archive:` all take it.
The same input gives the same bytes.
"""

import argparse
import gzip
import hashlib
import io
import json
import pathlib
import sys
import tarfile

USER = "65532:65532"
CA_ROOTS = "etc/ssl/certs/ca-certificates.crt"
EPOCH = "1970-01-01T00:00:00Z"
MIB = 1024 * 1024


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--binary", type=pathlib.Path, required=True)
    options.add_argument("--arch", choices=["amd64", "arm64"], required=True)
    options.add_argument("--name", required=True, help="such as sidegate:0.1.0")
    options.add_argument("--ca-roots", type=pathlib.Path, default=pathlib.Path("/", CA_ROOTS))
    options.add_argument("--max-mib", type=float, default=16, help="of the compressed layer")
    options.add_argument("--output", type=pathlib.Path, required=True)
    given = options.parse_args()
    try:
        image = pack(given.binary, given.ca_roots, given.arch, given.name, given.max_mib)
    except (OSError, ValueError) as error:
        sys.exit(f"image: {error}")
    given.output.parent.mkdir(parents=True, exist_ok=True)
    given.output.write_bytes(image)
    print(f"{given.output}: {given.name} for {given.arch}, {len(image) / MIB:.1f} MiB compressed")


def pack(binary, ca_roots, arch, name, max_mib):
    """The bytes of the image's tar."""
    repository, _, tag = name.rpartition(":")
    if not repository or "/" in tag:
        raise ValueError(f'"{name}" is no image name with a tag, such as sidegate:0.1.0')
    layer = layer_tar(program(binary, arch), roots(ca_roots))
    compressed = gzip.compress(layer, compresslevel=9, mtime=0)
    if len(compressed) > max_mib * MIB:
        size = len(compressed) / MIB
        raise ValueError(f"the compressed layer has {size:.1f} MiB, over {max_mib:g}")
    config = {
        "created": EPOCH,
        "architecture": arch,
        "os": "linux",
        "config": {
            # No entry point: the arguments of injected containers begin with the program's path.
            "User": USER,
            "WorkingDir": "/",
            "Labels": {
                "org.opencontainers.image.title": "sidegate",
                "org.opencontainers.image.version": tag,
                "org.opencontainers.image.licenses": "Apache-2.0",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
        "history": [{"created": EPOCH, "created_by": "image/pack.py"}],
    }
    return layout_tar(json_bytes(config), compressed, arch, name)


def program(binary, arch):
    """The bytes of the binary, which must be a static ELF program for `arch`."""
    data = binary.read_bytes()
    machine = {"amd64": 62, "arm64": 183}[arch]  # ELF's EM_X86_64 and EM_AARCH64
    if data[:5] != b"\x7fELF\x02" or int.from_bytes(data[18:20], "little") != machine:
        raise ValueError(f"{binary} is no ELF program for {arch}")
    if needs_interpreter(data):
        raise ValueError(f"{binary} is not static: an empty image has no shared libraries")
    return data


def needs_interpreter(elf):
    """Whether one of the program headers of a 64-bit ELF is PT_INTERP."""
    start = int.from_bytes(elf[32:40], "little")
    size = int.from_bytes(elf[54:56], "little")
    count = int.from_bytes(elf[56:58], "little")
    headers = (start + size * index for index in range(count))
    return any(int.from_bytes(elf[at : at + 4], "little") == 3 for at in headers)


def roots(path):
    """The CA certificates that TLS clients in the image trust."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ValueError(
            f"no CA roots at {path} ({error.strerror}): install the package ca-certificates, "
            "or name a PEM bundle with --ca-roots"
        ) from error
    if b"-----BEGIN CERTIFICATE-----" not in data:
        raise ValueError(f"{path} holds no certificates in PEM form")
    return data


def layer_tar(binary, ca_roots):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        add(tar, "daprd", kind=tarfile.SYMTYPE, link="sidegate")
        for folder in ["etc", "etc/ssl", "etc/ssl/certs"]:
            add(tar, folder, kind=tarfile.DIRTYPE, mode=0o755)
        add(tar, CA_ROOTS, ca_roots)
        add(tar, "sidegate", binary, mode=0o755)
    return out.getvalue()


def layout_tar(config, layer, arch, name):
    manifest = json_bytes(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described("application/vnd.oci.image.config.v1+json", config),
            "layers": [described("application/vnd.oci.image.layer.v1.tar+gzip", layer)],
        }
    )
    in_index = described("application/vnd.oci.image.manifest.v1+json", manifest)
    in_index["platform"] = {"architecture": arch, "os": "linux"}
    in_index["annotations"] = {
        "io.containerd.image.name": full_name(name),
        "org.opencontainers.image.ref.name": name.rpartition(":")[2],
    }
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [in_index],
    }
    for_docker = [{"Config": blob(config), "RepoTags": [name], "Layers": [blob(layer)]}]
    files = {blob(data): data for data in [config, layer, manifest]}
    files["index.json"] = json_bytes(index)
    files["manifest.json"] = json_bytes(for_docker)
    files["oci-layout"] = json_bytes({"imageLayoutVersion": "1.0.0"})
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for folder in ["blobs", "blobs/sha256"]:
            add(tar, folder, kind=tarfile.DIRTYPE, mode=0o755)
        for path in sorted(files):
            add(tar, path, files[path])
    return out.getvalue()


def full_name(name):
    """The name with registry and folder, as containerd and the kubelet look it up."""
    first, slash, _ = name.partition("/")
    if not slash:
        return f"docker.io/library/{name}"
    is_registry = "." in first or ":" in first or first == "localhost"
    return name if is_registry else f"docker.io/{name}"


def add(tar, path, data=b"", kind=tarfile.REGTYPE, mode=0o644, link=""):
    entry = tarfile.TarInfo(path)
    entry.type, entry.mode, entry.size, entry.linkname = kind, mode, len(data), link
    tar.addfile(entry, io.BytesIO(data))


def described(media_type, data):
    return {"mediaType": media_type, "digest": digest(data), "size": len(data)}


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def blob(data):
    return "blobs/sha256/" + hashlib.sha256(data).hexdigest()


def json_bytes(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


if __name__ == "__main__":
    main()
