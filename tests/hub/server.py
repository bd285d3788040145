"""A stand-in for the Hugging Face Hub on this machine, for the real client: repositories in memory, and bad days.

It speaks what the client needs to create, upload, commit, tag, list and download models. Files that are not text go by
plain Git LFS, redirected to another origin (localhost instead of 127.0.0.1), as the Hub sends them to its storage; or
by Xet, whose own code then keeps them in a local folder.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import hashlib
import json
import re
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_stand_in"


def blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclasses.dataclass
class Repository:
    """Commits, newest last, each with its title, text and files; branches and tags by name."""

    name: str
    private: bool = False
    gated: bool = False
    commits: list[tuple[str, str, str, dict[str, bytes]]] = dataclasses.field(default_factory=list)
    tags: dict[str, str] = dataclasses.field(default_factory=dict)

    def commit(self, title: str, text: str, files: dict[str, bytes]) -> str:
        """Add a commit, unless nothing has changed; returns its hash."""
        if self.commits and self.commits[-1][3] == files:
            return self.commits[-1][0]
        digest = hashlib.sha1(f"{self.name} {len(self.commits)}".encode()).hexdigest()
        self.commits.append((digest, title, text, files))
        return digest

    def find(self, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Hash and files of a branch, tag or commit."""
        wanted = self.commits[-1][0] if revision == "main" else self.tags.get(revision, revision)
        return next(((digest, files) for digest, _, _, files in self.commits if digest == wanted), None)


class Hub(ThreadingHTTPServer):
    """Repositories by name, and how the Hub behaves.

    Attributes:
        requests: Method and path of each request.
        refuse: Status and headers for requests whose path contains a text.
        spoil: Replaces the content of files that are downloaded.
        cut: Bytes after which the next downloads of a file end, by path.
        sizes: Sizes that are listed instead of the right ones, by path.
        xet: Folder where Xet keeps files; None means plain LFS.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.refuse: dict[str, tuple[int, dict[str, str]]] = {}
        self.spoil: dict[str, bytes] = {}
        self.cut: dict[str, list[int]] = {}
        self.sizes: dict[str, int] = {}
        self.storage_tokens: list[str] = []
        self.xet: Path | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, name: str, files: dict[str, bytes], **options: Any) -> Repository:
        """A repository that is there already, with one commit."""
        repository = self.repositories[name] = Repository(name, **options)
        repository.commit("initial commit", "", files)
        return repository

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave early are part of the game."""


@contextlib.contextmanager
def serving() -> Iterator[Hub]:
    """A Hub that runs inside the ``with`` block."""
    hub = Hub()
    thread = threading.Thread(target=hub.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
        thread.join()


def is_binary(path: str) -> bool:
    return path.endswith((".safetensors", ".wav", ".png"))


def xet_hashes(store: Path) -> dict[str, str]:
    """Xet's hash of each stored file by its SHA-256, out of the shards: records of 48 bytes."""

    def hexadecimal(record: bytes) -> str:
        return "".join(f"{word:016x}" for word in struct.unpack("<4Q", record[:32]))

    hashes = {}
    for shard in store.rglob("*.mdb"):
        data = shard.read_bytes()
        at = 48
        while (name := data[at : at + 32]) != b"\xff" * 32 and len(name) == 32:
            flags, entries = struct.unpack("<II", data[at + 32 : at + 40])
            at += 48 * (1 + entries * (2 if flags & 1 << 31 else 1))
            if flags & 1 << 30:
                hashes[hexadecimal(data[at:])] = hexadecimal(name)
                at += 48
    return hashes


class _Refusal(Exception):
    def __init__(self, status: int, code: str = "", message: str = "", **headers: str) -> None:
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message, **headers}


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        address = urlsplit(self.path)
        self.query = parse_qs(address.query)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            self.body = b"".join(iter(self._chunk, b""))
        path = unquote(address.path)
        self.server.requests.append(f"{self.command} {path}")
        try:
            for part, (status, headers) in self.server.refuse.items():
                if part in path:
                    raise _Refusal(status, **{"code": "", "message": "", **headers})
            if not self._route(path):
                raise _Refusal(404, "RouteNotFound", f"no route {self.command} {path}")
        except _Refusal as refusal:
            headers = {name.replace("_", "-"): value for name, value in refusal.headers.items() if value}
            self._answer(refusal.status, b'{"error": "refused"}', headers)

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline(), 16)
        data = self.rfile.read(size)
        self.rfile.readline()
        return data

    def _route(self, path: str) -> bool:
        routes = {
            r"GET /api/agent-harnesses": self._harnesses,
            r"GET /api/models": self._list,
            r"POST /api/repos/create": self._create,
            r"POST /api/validate-yaml": self._validate,
            r"GET /api/models/([^/]+/[^/]+)(?:/revision/(.+))?": self._info,
            r"GET /api/models/([^/]+/[^/]+)/tree/(.+)": self._tree,
            r"GET /api/models/([^/]+/[^/]+)/refs": self._refs,
            r"GET /api/models/([^/]+/[^/]+)/commits/(.+)": self._commits,
            r"POST /api/models/([^/]+/[^/]+)/paths-info/(.+)": self._paths,
            r"POST /api/models/([^/]+/[^/]+)/preupload/(.+)": self._preupload,
            r"POST /api/models/([^/]+/[^/]+)/commit/(.+)": self._commit,
            r"POST /api/models/([^/]+/[^/]+)/tag/(.+)": self._tag,
            r"GET /api/models/([^/]+/[^/]+)/xet-(?:read|write)-token/(.+)": self._xet_token,
            r"POST /([^/]+/[^/]+)\.git/info/lfs/objects/batch": self._batch,
            r"PUT /storage/([0-9a-f]+)": self._store,
            r"(?:GET|HEAD) /storage/([0-9a-f]+)/(.+)": self._fetch,
            r"(?:GET|HEAD) /([^/]+/[^/]+)/resolve/([^/]+)/(.+)": self._resolve,
        }
        for pattern, handler in reversed(routes.items()):
            match = re.fullmatch(pattern, f"{self.command} {path}")
            if match:
                handler(*match.groups())
                return True
        return False

    def _repository(self, name: str, write: bool = False) -> Repository:
        token = self.headers.get("Authorization")
        if token not in (None, f"Bearer {TOKEN}"):
            raise _Refusal(401, message="Invalid credentials in Authorization header")
        repository = self.server.repositories.get(name)
        if repository is None or ((repository.private or write) and not token):
            raise _Refusal(404 if token else 401, "RepoNotFound", "Repository not found")
        return repository

    def _at(self, name: str, revision: str | None) -> tuple[Repository, str, dict[str, bytes]]:
        repository = self._repository(name)
        found = repository.find(revision or "main")
        if found is None:
            raise _Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return repository, *found

    def _harnesses(self) -> None:
        self._json({"standardEnvVars": [], "harnesses": {}})

    def _list(self) -> None:
        found = [self._describe(each, *each.find("main")) for each in self.server.repositories.values()]  # type: ignore[misc]
        wanted = set(self.query.get("filter", []))
        self._json([each for each in found if wanted <= set(each["tags"]) and not each["private"]])

    def _describe(self, repository: Repository, commit: str, files: dict[str, bytes]) -> dict[str, Any]:
        match = re.match(r"---\n(.*?)\n---\n", files.get("README.md", b"").decode(), re.DOTALL)
        card = yaml.safe_load(match[1]) if match else {}
        return {
            "id": repository.name,
            "sha": commit,
            "private": repository.private,
            "gated": "auto" if repository.gated else False,
            "tags": [*(tags if isinstance(tags := card.get("tags"), list) else []), card.get("library_name")],
            "library_name": card.get("library_name"),
            "cardData": card,
            "siblings": [
                {"rfilename": row["path"], **{key.replace("oid", "blobId"): row[key] for key in ("size", "oid")}}
                | ({"lfs": {**row["lfs"], "sha256": row["lfs"]["oid"]}} if "lfs" in row else {})
                for row in self._rows(files)
            ],
        }

    def _rows(self, files: dict[str, bytes]) -> list[dict[str, Any]]:
        rows = []
        for path, content in files.items():
            size = self.server.sizes.get(path, len(content))
            row: dict[str, Any] = {"type": "file", "path": path, "size": size, "oid": blob_id(content)}
            if is_binary(path):
                row["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 130}
            rows.append(row)
        return rows

    def _create(self) -> None:
        asked = json.loads(self.body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            raise _Refusal(401, message="Invalid username or password.")
        self.server.add(name, {".gitattributes": b"*.safetensors filter=lfs\n"},
                        private=asked.get("visibility") == "private" or bool(asked.get("private")))  # fmt: skip
        self._json({"url": f"{self.server.endpoint}/{name}", "name": name})

    def _validate(self) -> None:
        self._json({"errors": [], "warnings": []})

    def _info(self, name: str, revision: str | None) -> None:
        self._json(self._describe(*self._at(name, revision)))

    def _tree(self, name: str, revision: str) -> None:
        self._json(self._rows(self._at(name, revision)[2]))

    def _refs(self, name: str) -> None:
        repository = self._repository(name)
        tags = [{"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": at} for tag, at in repository.tags.items()]
        main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repository.commits[-1][0]}
        self._json({"branches": [main], "converts": [], "tags": tags})

    def _commits(self, name: str, revision: str) -> None:
        day = "2026-01-01T00:00:00.000Z"
        self._json(
            [
                {"id": digest, "title": title, "message": text, "authors": [], "date": day}
                for digest, title, text, _ in reversed(self._repository(name).commits)
            ]
        )

    def _paths(self, name: str, revision: str) -> None:
        wanted = parse_qs(self.body.decode())["paths"]
        self._json([row for row in self._rows(self._at(name, revision)[2]) if row["path"] in wanted])

    def _preupload(self, name: str, revision: str) -> None:
        self._repository(name, write=True)
        files = self._at(name, revision)[2]
        asked = json.loads(self.body)["files"]
        known = {row["path"]: row.get("lfs", row)["oid"] for row in self._rows(files)}
        self._json(
            {
                "files": [
                    {
                        "path": file["path"],
                        "uploadMode": "lfs" if is_binary(file["path"]) else "regular",
                        "shouldIgnore": False,
                        "oid": known.get(file["path"]),
                    }
                    for file in asked
                ]
            }
        )

    def _commit(self, name: str, revision: str) -> None:
        repository = self._repository(name, write=True)
        head, *operations = [json.loads(line) for line in self.body.splitlines()]
        parent = head["value"].get("parentCommit")
        if parent and parent != repository.commits[-1][0]:
            raise _Refusal(412, message="A commit has happened since. Please refresh and try again.")
        files = dict(repository.commits[-1][3])
        for operation in operations:
            value = operation["value"]
            if operation["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif operation["key"] == "lfsFile":
                files[value["path"]] = self.server.objects[value["oid"]]
            else:
                del files[value["path"]]
        digest = repository.commit(head["value"]["summary"], head["value"]["description"], files)
        self._json({"commitOid": digest, "commitUrl": f"{self.server.endpoint}/{name}/commit/{digest}"})

    def _tag(self, name: str, revision: str) -> None:
        repository = self._repository(name, write=True)
        tag = json.loads(self.body)["tag"]
        if tag in repository.tags:
            raise _Refusal(409, message="Tag already exists")
        repository.tags[tag] = self._at(name, revision)[1]
        self._json({})

    def _batch(self, name: str) -> None:
        self._repository(name, write=True)
        objects = []
        for each in json.loads(self.body)["objects"]:
            upload = {"upload": {"href": f"{self.server.endpoint}/storage/{each['oid']}"}}
            objects.append({**each, **({} if each["oid"] in self.server.objects else {"actions": upload})})
        self._json({"transfer": "basic", "objects": objects})

    def _xet_token(self, name: str, revision: str) -> None:
        expires = int(time.time()) + 3600
        body = {"casUrl": f"local://{self.server.xet}", "accessToken": "t", "exp": expires}
        headers = {"X-Xet-Cas-Url": body["casUrl"], "X-Xet-Access-Token": "t", "X-Xet-Token-Expiration": str(expires)}
        self._answer(200, json.dumps(body).encode(), {"Content-Type": "application/json", **headers})

    def _store(self, digest: str) -> None:
        self.server.objects[digest] = self.body
        self._answer(200, b"")

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repository, commit, files = self._at(name, revision)
        if repository.gated:
            raise _Refusal(403, "GatedRepo", f"Access to model {name} is restricted")
        if path not in files:
            raise _Refusal(404, "EntryNotFound", "Entry not found", X_Repo_Commit=commit)
        content = files[path]
        if is_binary(path):
            digest = hashlib.sha256(content).hexdigest()
            self.server.objects[digest] = content
            headers = {
                "X-Repo-Commit": commit,
                "X-Linked-Etag": f'"{digest}"',
                "X-Linked-Size": str(len(content)),
                "Location": f"http://localhost:{self.server.server_port}/storage/{digest}/{path}",
            }
            if self.server.xet:
                headers["X-Xet-Hash"] = xet_hashes(self.server.xet)[digest]
                headers["X-Xet-Refresh-Route"] = f"{self.server.endpoint}/api/models/{name}/xet-read-token/main"
            self._answer(302, b"", headers)
            return
        headers = {"X-Repo-Commit": commit, "ETag": f'"{blob_id(content)}"'}
        self._deliver(path, self.server.spoil.get(path, content), headers)

    def _fetch(self, digest: str, path: str) -> None:
        if "Authorization" in self.headers:
            self.server.storage_tokens.append(self.headers["Authorization"])
        content = self.server.spoil.get(path, self.server.objects[digest])
        self._deliver(path, content, {"ETag": f'"{digest}"'})

    def _deliver(self, path: str, content: bytes, headers: dict[str, str]) -> None:
        """Send a file or the rest of it; the connection may end before that."""
        status = 200
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked:
            start = int(asked[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            status, content = 206, content[start:]
        cuts = self.server.cut.get(path)
        if cuts and self.command == "GET":
            limit = cuts.pop(0)
            self._answer(status, content, headers, limit)
            self.close_connection = True
            return
        self._answer(status, content, headers)

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, limit: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:limit])

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
