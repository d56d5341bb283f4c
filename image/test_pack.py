"""What `pack.py` writes, read back as container runtimes read it."""

import hashlib
import io
import json
import pathlib
import tarfile
import tempfile
import unittest

import pack

CA = b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n"


def elf(machine=62, header=1):
    """The smallest file that looks like a 64-bit program with one program header."""
    head = bytearray(64)
    head[:5] = b"\x7fELF\x02"
    head[18:20] = machine.to_bytes(2, "little")
    head[32:40] = (64).to_bytes(8, "little")
    head[54:56] = (56).to_bytes(2, "little")
    head[56:58] = (1).to_bytes(2, "little")
    return bytes(head) + header.to_bytes(4, "little") + bytes(52)


class Pack(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def pack(self, binary=None, ca=CA, arch="amd64", name="sidegate:0.1.0", max_mib=10):
        program, roots = self.folder / "sidegate", self.folder / "ca.crt"
        program.write_bytes(elf() if binary is None else binary)
        roots.write_bytes(ca)
        return pack.pack(program, roots, arch, name, max_mib)

    def files(self, image):
        with tarfile.open(fileobj=io.BytesIO(image)) as tar:
            return {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}

    def test_each_blob_has_the_digest_and_size_that_point_to_it(self):
        files = self.files(self.pack())
        blob = lambda entry: files["blobs/" + entry["digest"].replace(":", "/")]
        [entry] = json.loads(files["index.json"])["manifests"]
        manifest = json.loads(blob(entry))
        [layer] = manifest["layers"]
        for pointer in [entry, manifest["config"], layer]:
            data = blob(pointer)
            self.assertEqual(pointer["digest"], "sha256:" + hashlib.sha256(data).hexdigest())
            self.assertEqual(pointer["size"], len(data))
        config = json.loads(blob(manifest["config"]))
        unpacked = pack.gzip.decompress(blob(layer))
        self.assertEqual(config["rootfs"]["diff_ids"], [pack.digest(unpacked)])
        [docker] = json.loads(files["manifest.json"])
        self.assertEqual(files[docker["Config"]], blob(manifest["config"]))
        self.assertEqual([files[path] for path in docker["Layers"]], [blob(layer)])
        self.assertEqual(docker["RepoTags"], ["sidegate:0.1.0"])
        self.assertEqual(entry["platform"], {"architecture": "amd64", "os": "linux"})

    def test_runs_as_nobody_without_an_entry_point(self):
        files = self.files(self.pack())
        [docker] = json.loads(files["manifest.json"])
        config = json.loads(files[docker["Config"]])["config"]
        self.assertEqual(config["User"], "65532:65532")
        self.assertFalse({"Entrypoint", "Cmd"} & set(config))

    def test_holds_the_program_under_both_names_and_the_ca_roots(self):
        files = self.files(self.pack())
        [docker] = json.loads(files["manifest.json"])
        [layer] = docker["Layers"]
        with tarfile.open(fileobj=io.BytesIO(files[layer])) as tar:
            members = {member.name: member for member in tar}
            self.assertEqual(members["daprd"].linkname, "sidegate")
            self.assertEqual(members["sidegate"].mode, 0o755)
            self.assertEqual(tar.extractfile("sidegate").read(), elf())
            self.assertEqual(tar.extractfile("etc/ssl/certs/ca-certificates.crt").read(), CA)
            self.assertEqual({(m.uid, m.gid, m.mtime) for m in tar}, {(0, 0, 0)})

    def test_the_same_input_gives_the_same_bytes(self):
        self.assertEqual(self.pack(), self.pack())

    def test_names_are_completed_as_runtimes_look_them_up(self):
        for name, full in {
            "sidegate:1": "docker.io/library/sidegate:1",
            "me/sidegate:1": "docker.io/me/sidegate:1",
            "localhost/sidegate:1": "localhost/sidegate:1",
            "example.org/a/sidegate:1": "example.org/a/sidegate:1",
        }.items():
            self.assertEqual(pack.full_name(name), full)

    def test_refuses_what_could_not_run(self):
        for given, text in [
            ({"binary": b"#!/bin/sh\n"}, "is no ELF program for amd64"),
            ({"binary": elf(machine=183)}, "is no ELF program for amd64"),
            ({"binary": elf(header=3)}, "is not static"),
            ({"ca": b""}, "holds no certificates in PEM form"),
            ({"name": "sidegate"}, '"sidegate" is no image name with a tag'),
            ({"name": "localhost:5000/sidegate"}, "is no image name with a tag"),
            ({"max_mib": 0.0001}, "MiB, over 0.0001"),
        ]:
            with self.subTest(text), self.assertRaisesRegex(ValueError, text):
                self.pack(**given)

    def test_says_what_to_install_where_there_are_no_ca_roots(self):
        with self.assertRaisesRegex(ValueError, "install the package ca-certificates"):
            pack.roots(self.folder / "none.crt")


if __name__ == "__main__":
    unittest.main()
