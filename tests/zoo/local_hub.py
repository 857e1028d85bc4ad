"""A Hugging Face hub in this process: the routes for downloads and uploads, over real HTTP, with faults on demand.

In a `with LocalHub() as hub:` block:

- `hub.add("org/name", {"a.safetensors": b"..."})` commits files and returns the commit;
- `hub.requests` is what was asked so far, each a `Request(method, path, headers)`;
- `hub.cuts = [1000]` breaks the next file download after 1000 bytes;
- `hub.fault = lambda request: request.answer(503)` may answer instead of the hub: truthy when it did.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

CHUNK = 64 << 10


class Request(NamedTuple):
    method: str
    path: str
    headers: Message  # by name in any case


@dataclass
class Repo:
    private: bool = False
    commits: dict = field(default_factory=dict)  # commit -> {file: bytes}
    branches: dict = field(default_factory=dict)  # branch -> commit
    messages: list = field(default_factory=list)

    def commit(self, files, branch="main", message=""):
        """Put `files` on `branch` as a new commit; returns its 40 hex digits."""
        digest = hashlib.sha1(repr((len(self.commits), sorted(files.items()))).encode()).hexdigest()
        self.commits[digest] = dict(files)
        self.branches[branch] = digest
        self.messages.append(message)
        return digest


class LocalHub:
    """The server and its state. Start it with `with`; every answer comes from `repos`."""

    def __init__(self, host="127.0.0.1"):
        self.repos, self.renamed, self.lfs_objects = {}, {}, {}
        self.requests, self.cuts = [], []
        self.fault = lambda request: False
        self.pause = 0.0  # seconds between chunks of 64 KiB of a file
        self.reset = False  # cut with a TCP reset instead of an orderly close
        self.host = host
        self._server = _Server((host, 0), _Handler)
        self._server.hub = self

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self):
        return f"http://{self.host}:{self._server.server_port}"

    def add(self, repo, files, branch="main"):
        """Commit `files` ({name: bytes}) to `repo`, which is made when missing; returns the commit."""
        return self.repos.setdefault(repo, Repo()).commit(files, branch)

    def count(self, method):
        """How many requests of `method` came in."""
        return sum(request.method == method for request in self.requests)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        """Silence: `hub.requests` is the log."""

    def handle_any(self):
        self.hub = self.server.hub
        self.body = self._read_body()
        self.hub.requests.append(Request(self.command, self.path, self.headers))
        if self.hub.fault(self):
            return
        for method, pattern, route in ROUTES:
            match = re.fullmatch(pattern, urlsplit(self.path).path)
            if match and self.command in method:
                return route(self, *map(unquote, match.groups()))
        self.answer(404)

    do_HEAD = do_GET = do_POST = do_PUT = handle_any

    def _read_body(self):
        if self.headers.get("Transfer-Encoding") == "chunked":
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    # -------------------------------------------------------------- answers

    def answer(self, status, body=b"", headers=None, **more):
        """Send a whole answer; `body` may be bytes or something to write as JSON.

        Keyword X_Error_Code becomes X-Error-Code.
        """
        if not isinstance(body, bytes):
            body, more = json.dumps(body).encode(), {"Content_Type": "application/json", **more}
        self.send_response(status)
        named = {
            "Content-Length": len(body),
            **(headers or {}),
            **{name.replace("_", "-"): value for name, value in more.items()},
        }
        for name, value in named.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self._send(body)
        return True

    def _send(self, content):
        limit = self.hub.cuts.pop(0) if self.hub.cuts and "/resolve/" in self.path else len(content)
        for start in range(0, min(limit, len(content)), CHUNK):
            self.wfile.write(content[start : min(start + CHUNK, limit)])
            time.sleep(self.hub.pause)
        if limit < len(content):
            self.hang_up()

    def hang_up(self):
        """Break the connection without another byte."""
        if self.hub.reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True
        return True

    def _lookup(self, repo, revision):
        """(repo, commit, files), or None after the hub's own error answer."""
        if repo not in self.hub.repos:
            self.answer(404, X_Error_Code="RepoNotFound")
            return None
        held = self.hub.repos[repo]
        commit = held.branches.get(revision, revision)
        if commit not in held.commits:
            self.answer(404, X_Error_Code="RevisionNotFound")
            return None
        return held, commit, held.commits[commit]

    # -------------------------------------------------------------- downloads

    def resolve(self, repo, revision, file):
        if repo in self.hub.renamed:
            return self.answer(307, Location=f"/{self.hub.renamed[repo]}/resolve/{revision}/{file}")
        if not (found := self._lookup(repo, revision)):
            return
        _, commit, files = found
        if file not in files:
            return self.answer(404, X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        content = files[file]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{_etag(file, content)}"', "Accept-Ranges": "bytes"}
        if self.command == "HEAD":
            return self.answer(200, headers={**headers, "Content-Length": len(content)})
        if match := re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")):
            start = int(match[1])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.answer(206, content[start:], headers)
        self.answer(200, content, headers)

    def info(self, repo, revision="main"):
        if found := self._lookup(repo, revision):
            held, commit, files = found
            self.answer(
                200,
                {
                    "id": repo,
                    "sha": commit,
                    "private": held.private,
                    "siblings": [{"rfilename": name} for name in files],
                },
            )

    def tree(self, repo, revision):
        if found := self._lookup(repo, revision):
            self.answer(200, [_tree_row(name, content) for name, content in found[2].items()])

    # -------------------------------------------------------------- uploads

    def create(self):
        asked = json.loads(self.body)
        name = "/".join(part for part in (asked.get("organization"), asked["name"]) if part)
        if name in self.hub.repos:
            return self.answer(409, {"error": "exists", "url": f"{self.hub.url}/{name}"})
        self.hub.repos[name] = Repo(private=bool(asked.get("private") or asked.get("visibility") == "private"))
        self.hub.repos[name].commit({})
        self.answer(200, {"url": f"{self.hub.url}/{name}", "name": name})

    def whoami(self):
        self.answer(200, {"name": "tester", "type": "user", "orgs": []})

    def validate_yaml(self):
        self.answer(200, {"errors": [], "warnings": []})

    def preupload(self, repo, revision):
        if found := self._lookup(repo, revision):
            paths = [file["path"] for file in json.loads(self.body)["files"]]
            self.answer(200, {"files": [_upload_row(path, found[2].get(path)) for path in paths]})

    def lfs_batch(self, repo):
        objects = []
        for asked in json.loads(self.body)["objects"]:
            href = f"{self.hub.url}/lfs/{asked['oid']}"
            actions = {"upload": {"href": href}, "verify": {"href": f"{href}/verify"}}
            objects.append(asked if asked["oid"] in self.hub.lfs_objects else {**asked, "actions": actions})
        self.answer(200, {"transfer": "basic", "objects": objects}, Content_Type="application/vnd.git-lfs+json")

    def lfs_put(self, oid):
        whole = hashlib.sha256(self.body).hexdigest() == oid
        if whole:
            self.hub.lfs_objects[oid] = self.body
        self.answer(200 if whole else 422)

    def lfs_verify(self, oid):
        self.answer(200 if oid in self.hub.lfs_objects else 404)

    def commit(self, repo, revision):
        if not (found := self._lookup(repo, revision)):
            return
        held, parent, files = found
        files, message = dict(files), ""
        for line in map(json.loads, self.body.splitlines()):
            kind, value = line["key"], line["value"]
            if kind == "header":
                message = value["summary"]
                if value.get("parentCommit") not in (None, parent):
                    return self.answer(412, {"error": "the branch has moved"})
            elif kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.hub.lfs_objects[value["oid"]]
            elif kind == "deletedFile":
                del files[value["path"]]
        commit = held.commit(files, revision, message)
        self.answer(200, {"success": True, "commitOid": commit, "commitUrl": f"{self.hub.url}/{repo}/commit/{commit}"})


def _etag(name, content):
    """As the hub does: the sha256 of a file in large-file storage, else git's hash of the blob."""
    if name.endswith(".safetensors"):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _upload_row(name, there):
    """How to upload a file, and what is `there` of that name."""
    row = {"path": name, "uploadMode": "lfs" if name.endswith(".safetensors") else "regular", "shouldIgnore": False}
    return row if there is None else {**row, "oid": _etag(name, there)}


def _tree_row(name, content):
    row = {"type": "file", "path": name, "size": len(content), "oid": _etag(name, content)}
    return (
        {**row, "lfs": {"oid": row["oid"], "size": len(content), "pointerSize": 134}}
        if name.endswith(".safetensors")
        else row
    )


NAME = r"([\w.-]+/[\w.-]+)"
ROUTES = [
    (("HEAD", "GET"), rf"/{NAME}/resolve/([^/]+)/(.+)", _Handler.resolve),
    (("GET",), r"/api/whoami-v2", _Handler.whoami),
    (("GET",), rf"/api/models/{NAME}", _Handler.info),
    (("GET",), rf"/api/models/{NAME}/revision/([^/]+)", _Handler.info),
    (("GET",), rf"/api/models/{NAME}/tree/([^/]+)", _Handler.tree),
    (("POST",), r"/api/repos/create", _Handler.create),
    (("POST",), r"/api/validate-yaml", _Handler.validate_yaml),
    (("POST",), rf"/api/models/{NAME}/preupload/([^/]+)", _Handler.preupload),
    (("POST",), rf"/api/models/{NAME}/commit/([^/]+)", _Handler.commit),
    (("POST",), rf"/{NAME}\.git/info/lfs/objects/batch", _Handler.lfs_batch),
    (("PUT",), r"/lfs/(\w+)", _Handler.lfs_put),
    (("POST",), r"/lfs/(\w+)/verify", _Handler.lfs_verify),
]
