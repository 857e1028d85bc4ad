"""Downloads with the real client from a local hub: what loads is what was promised, and each failure says its cause.

What the client reads from its environment on import runs in a process of its own.
"""

import gzip
import hashlib
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from local_hub import LocalHub

from idgan import errors
from idgan.zoo import conversation, download
from idgan.zoo.download import fetch, locate
from idgan.zoo.entries import Weights

ROOT = Path(__file__).parents[2]
FILE = "a.safetensors"
DATA = random.Random(0).randbytes(3000)
BIG = random.Random(1).randbytes((10 << 20) + 4000)  # more than the 10 MiB after which the client can resume
OTHER = DATA[:-1] + bytes([DATA[-1] ^ 1])


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def commit(hub):
    return hub.add("org/name", {FILE: DATA})


@pytest.fixture
def get(hub, cache, commit):
    """Fetch the file as for a manifest entry, pinned to `commit` and its hash. Any argument can be replaced."""

    def get(data=DATA, **changes):
        options = {
            "revision": commit,
            "sha256": sha256(data),
            "bytes": len(data),
            "endpoint": hub.url,
            "cache_dir": cache,
            "token": False,
        }
        return fetch(changes.pop("repo", "org/name"), changes.pop("file", FILE), **{**options, **changes})

    return get


def run(program, tmp_path, **environment):
    """Run `program` in a process whose cache is `tmp_path`; its output."""
    return finish(start(program, tmp_path, **environment))


def start(program, tmp_path, **environment):
    script = tmp_path / "program.py"
    script.write_text(program)
    environment = {
        **os.environ,
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    return subprocess.Popen(
        [sys.executable, script], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    output, complaint = process.communicate(timeout=60)
    assert process.returncode == 0, complaint
    return output


# ------------------------------------------------------------------ the content is what was promised


def test_a_pinned_file_is_downloaded_once_and_then_costs_no_request(hub, get):
    assert get().read_bytes() == DATA
    assert hub.count("GET") == 1
    hub.requests.clear()
    assert get().read_bytes() == DATA
    assert get(sha256=None, bytes=None).read_bytes() == DATA
    assert hub.requests == []


@pytest.mark.parametrize("pinned", [True, False])
@pytest.mark.parametrize("damage", [OTHER, DATA[:1000], b"", DATA + b"more"])
def test_a_damaged_cached_file_is_fetched_again_once(hub, get, damage, pinned):
    """Without a hash of ours, the one the hub stated names the blob: truncation is found there too."""
    promise = {} if pinned else {"sha256": None, "bytes": None}
    path = get(**promise)
    path.resolve().write_bytes(damage)
    hub.requests.clear()
    assert get(**promise).read_bytes() == DATA
    assert hub.count("GET") == 1


def test_a_damaged_copy_is_replaced_where_the_cache_has_no_links(hub, get):
    path = get()
    path.unlink()
    path.write_bytes(OTHER)
    assert get().read_bytes() == DATA
    assert hub.count("GET") == 2


def test_a_file_is_verified_at_each_load(get):
    path = get()
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.resolve().write_bytes(OTHER)
    os.utime(path, ns=times)  # nothing but the content tells
    with pytest.raises(errors.CorruptWeightsError, match=f"found {sha256(OTHER)}"):
        get(local_files_only=True)


def test_a_hub_that_serves_something_else_is_asked_twice(hub, get):
    with pytest.raises(errors.CorruptWeightsError) as error:
        get(OTHER)
    message = str(error.value)
    assert FILE in message
    assert f"expected sha256 {sha256(OTHER)}, found {sha256(DATA)}" in message
    assert Path(message[message.index("(") + 1 : message.index(")")]).read_bytes() == DATA
    assert hub.count("GET") == 2
    with pytest.raises(errors.CorruptWeightsError, match="expected 2,999 bytes, found 3,000"):
        get(bytes=2999)


def test_damage_without_a_connection_is_a_clear_failure(hub, get):
    path = get().resolve()
    path.write_bytes(OTHER)
    hub.requests.clear()
    with pytest.raises(errors.CorruptWeightsError, match="Load it once with a connection"):
        get(local_files_only=True)
    assert hub.requests == []
    with pytest.raises(errors.CorruptWeightsError, match=f"expected sha256 {sha256(DATA)}.*cannot be reached") as error:
        get(endpoint="http://127.0.0.1:9")
    assert isinstance(error.value.__cause__, errors.HubUnreachableError)
    assert get().read_bytes() == DATA


@pytest.mark.parametrize("kind", ["text/html", "application/octet-stream"])
@pytest.mark.parametrize("pinned", [True, False])
def test_a_web_page_is_not_taken_for_weights(hub, get, commit, kind, pinned):
    page = b"\n<!DOCTYPE html><title>Log in</title>".ljust(len(DATA))
    hub.fault = lambda request: request.answer(200, page, X_Repo_Commit=commit, ETag='"page"', Content_Type=kind)
    for _ in range(2):  # nor is it once it is cached
        with pytest.raises(errors.CorruptWeightsError, match="web page"):
            get(**({} if pinned else {"sha256": None, "bytes": None}))
    hub.fault = lambda request: False
    assert get().read_bytes() == DATA


def test_embedded_weights_are_held_to_their_hash_too(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "PACKAGE", tmp_path)
    weights = Weights(FILE, sha256(DATA), len(DATA), embedded=True)
    with pytest.raises(errors.CorruptWeightsError, match="no such file"):
        locate(weights)
    path = tmp_path / "weights" / FILE
    path.parent.mkdir()
    path.write_bytes(DATA)
    assert locate(weights) == path
    path.write_bytes(OTHER)
    with pytest.raises(errors.CorruptWeightsError, match=sha256(DATA)):
        locate(weights)


def test_hub_weights_are_located_by_the_manifest(hub, cache, commit):
    weights = Weights(FILE, sha256(DATA), len(DATA), repo="org/name", revision=commit)
    assert locate(weights, endpoint=hub.url, cache_dir=cache, token=False).read_bytes() == DATA


# ------------------------------------------------------------------ branches


def test_a_branch_is_followed_and_its_cached_copy_serves_when_the_hub_does_not(hub, get):
    unpinned = {"revision": "main", "sha256": None, "bytes": None}
    assert get(**unpinned).read_bytes() == DATA
    hub.add("org/name", {FILE: OTHER})
    assert get(**unpinned).read_bytes() == OTHER
    hub.fault = lambda request: request.answer(503)
    assert get(**unpinned).read_bytes() == OTHER
    hub.requests.clear()
    assert get(**unpinned, local_files_only=True).read_bytes() == OTHER
    assert hub.requests == []


# ------------------------------------------------------------------ each failure has its error, and none is waited for

ANSWERS = [
    (401, "RepoNotFound", errors.RepoNotFoundError),
    (404, "RepoNotFound", errors.RepoNotFoundError),
    (404, None, errors.RepoNotFoundError),
    (403, "GatedRepo", errors.GatedRepoError),
    (404, "RevisionNotFound", errors.RevisionNotFoundError),
    (404, "EntryNotFound", errors.FileMissingError),
    (401, None, errors.HubAuthError),
    (403, None, errors.HubAuthError),
    (429, None, errors.HubRateLimitError),
    (500, None, errors.HubServerError),
    (503, None, errors.HubServerError),
    (418, None, errors.HubError),
]


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize(("status", "code", "kind"), ANSWERS)
def test_an_error_answer_is_named_after_one_request(hub, get, status, code, kind, method):
    headers = {"Retry-After": 3600, **({"X-Error-Code": code} if code else {})}
    hub.fault = lambda request: request.command == method and request.answer(status, headers=headers)
    with pytest.raises(errors.HubError) as error:
        get()
    assert type(error.value) is kind
    assert error.value.__cause__ is not None
    assert "a.safetensors of org/name" in str(error.value)
    assert hub.count(method) == 1
    hub.fault = lambda request: False
    assert get().read_bytes() == DATA


def test_what_the_hub_does_not_hold_is_said_apart(hub, get):
    with pytest.raises(errors.RepoNotFoundError):
        get(repo="org/other")
    with pytest.raises(errors.RevisionNotFoundError):
        get(revision="0" * 40)
    with pytest.raises(errors.FileMissingError):
        get(file="b.safetensors")


def test_a_renamed_repository_is_followed(hub, get):
    hub.renamed["org/old"] = "org/name"
    assert get(repo="org/old", token="hf_secret").read_bytes() == DATA
    assert all(request.headers.get("Authorization") == "Bearer hf_secret" for request in hub.requests)


@pytest.mark.parametrize("address", ["http://127.0.0.1:9", "http://no-such-host.invalid", "https://127.0.0.1:9"])
def test_no_connection_says_what_to_do(get, address):
    with pytest.raises(errors.HubUnreachableError, match=r"cannot be reached.*Check the connection") as error:
        get(endpoint=address)
    assert error.value.__cause__ is not None


def test_a_dead_proxy_is_no_connection(get, monkeypatch):
    from huggingface_hub.utils import close_session

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    close_session()  # the client reads it when its session starts
    with pytest.raises(errors.HubUnreachableError, match="proxy"):
        get(endpoint="http://hub.invalid")
    close_session()


def test_a_hub_that_never_answers_is_given_up(hub, get, monkeypatch):
    assert conversation.PATIENCE < 5
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.2")
    hub.fault = lambda request: time.sleep(1) or request.hang_up()
    with pytest.raises(errors.HubUnreachableError, match="HF_HUB_ETAG_TIMEOUT"):
        get()
    assert len(hub.requests) <= 1


@pytest.mark.parametrize(
    "answer", [{"status": 200, "body": b"<html>"}, {"status": 302, "Location": "http://127.0.0.1:9/login"}]
)
def test_a_login_page_in_the_way_is_no_hub(hub, get, answer):
    hub.fault = lambda request: request.answer(**answer)
    with pytest.raises(errors.HubUnreachableError, match="not as a hub does"):
        get()


@pytest.mark.parametrize("breaks", [1, 2])
@pytest.mark.parametrize("reset", [False, True])
def test_a_connection_may_break_once_before_the_first_answer(hub, get, reset, breaks):
    hub.reset = reset
    hub.fault = lambda request: hub.count("HEAD") <= breaks and request.hang_up()
    if breaks == 1:
        assert get().read_bytes() == DATA
    else:
        with pytest.raises(errors.HubUnreachableError, match="cannot be reached"):
            get()
        assert hub.count("HEAD") == 2


def test_names_that_could_leave_the_cache_are_refused_before_any_request(hub, get):
    for changes in (
        *({"file": name} for name in ("../a", "/etc/passwd", "a/b", "a\\b", "", "a\0", "..", None)),
        *(
            {"repo": name}
            for name in ("name", "../name", "org/..", "org/a/b", "/org/name", "org\\name", "org/na me", None)
        ),
        *({"revision": name} for name in ("../../main", "/main", "", "a b", "a\\b", None)),
        *({"endpoint": name} for name in ("ftp://hub", "hub", "http://", "http://[hub", "file:///etc", 3)),
    ):
        with pytest.raises(errors.InvalidInputError):
            get(**changes)
    assert hub.requests == []


ETAGS = [
    '"../../../evil"',
    'W/"..\\evil"',
    '"/evil"',
    '""',
    "",
    " ",
    '" "',
    '"."',
    '".."',
    'W/""',
    f'"{"a" * 300}"',
    '"a b"',
]


@pytest.mark.parametrize("etag", ETAGS)
@pytest.mark.parametrize("answers", [1, 2])
def test_an_etag_that_cannot_name_a_file_in_the_cache_is_refused(hub, get, commit, cache, tmp_path, etag, answers):
    """The client names a blob by it. The second answer is the one that it takes."""
    good = hub.fault
    hub.fault = lambda request: (
        good(request) if hub.count("HEAD") < answers else request.answer(200, DATA, X_Repo_Commit=commit, ETag=etag)
    )
    with pytest.raises(errors.HubServerError, match="cannot name a file in the cache"):
        get()
    assert not list(tmp_path.rglob("*evil*")) and not list(cache.rglob(FILE))
    hub.fault = good
    assert get().read_bytes() == DATA


@pytest.mark.parametrize("stated", ["", "main", "../../x", "A" * 40, "a" * 41])
def test_a_commit_that_is_none_is_refused(hub, get, cache, stated):
    hub.fault = lambda request: request.answer(200, DATA, X_Repo_Commit=stated, ETag='"a"')
    with pytest.raises(errors.HubError, match="not 40 hex digits"):
        get(revision="main")
    assert not list(cache.rglob("*"))


def test_a_pin_is_not_answered_with_another_commit(hub, get, commit, cache):
    hub.fault = lambda request: request.answer(200, DATA, X_Repo_Commit="0" * 40, ETag=f'"{sha256(DATA)}"')
    with pytest.raises(errors.HubServerError, match=f"another commit, {'0' * 40}, than {commit}"):
        get()
    assert not list(cache.rglob("*"))


@pytest.mark.parametrize("link", [True, False])
def test_a_directory_in_the_cache_is_not_a_cached_file(hub, get, link):
    path = get()
    path.unlink()
    if link:
        path.symlink_to(path.parents[2] / "blobs")
    else:
        path.mkdir()
    assert get().read_bytes() == DATA
    with pytest.raises(errors.HubOfflineError):
        path.unlink()
        path.mkdir()
        get(local_files_only=True)


# ------------------------------------------------------------------ broken transfers


@pytest.mark.parametrize("reset", [False, True])
def test_a_download_that_is_cut_twice_completes(hub, get, reset):
    hub.reset = reset
    hub.cuts = [(10 << 20) + 1000, 500]
    commit = hub.add("org/name", {FILE: BIG})
    assert get(BIG, revision=commit).read_bytes() == BIG
    if not reset:
        assert [request.headers.get("Range") for request in hub.requests if request.method == "GET"][1:] == [
            "bytes=10485760-"
        ] * 2


def test_a_download_that_is_always_cut_is_given_up_and_leaves_nothing_that_loads(hub, get, cache):
    hub.cuts = [1000] * 20
    with pytest.raises(errors.DownloadInterruptedError, match="broke 3 times") as error:
        get()
    assert error.value.__cause__ is not None
    assert hub.count("GET") == conversation.TRIES
    assert [path for path in cache.glob("models--org--name/*/**/*") if path.is_file() and path.stat().st_size] == []
    hub.cuts = []
    assert get().read_bytes() == DATA


def test_a_download_that_stalls_is_given_up(hub, get, monkeypatch):
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "0.2")
    hub.fault = lambda request: request.command == "GET" and (time.sleep(2) or request.hang_up())
    with pytest.raises(errors.DownloadInterruptedError):
        get()
    assert hub.count("GET") == conversation.TRIES


@pytest.mark.parametrize("answers", [1, 2])
def test_a_hub_that_falls_silent_is_given_up(hub, get, monkeypatch, answers):
    """The client asks for the headers twice; the second question would be repeated for minutes."""
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.2")
    hub.fault = lambda request: hub.count("HEAD") >= answers and (time.sleep(2) or request.hang_up())
    with pytest.raises(errors.HubUnreachableError):
        get()
    assert hub.count("HEAD") <= answers + 2


def drip(request, head, more, pause=0.05):
    """Send `head`, then `more` again and again, until the client hangs up."""
    request.close_connection = True
    try:
        request.wfile.write(head)
        for _ in range(1000):
            time.sleep(pause)
            request.wfile.write(more)
    except OSError:
        pass
    return True


@pytest.mark.parametrize("method", ["HEAD", "GET"])
def test_headers_that_drip_are_given_up(hub, get, monkeypatch, method):
    for variable in ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"):
        monkeypatch.setenv(variable, "0.3")
    hub.fault = lambda request: request.command == method and drip(request, b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n")
    with pytest.raises(errors.HubUnreachableError, match="did not answer within 0.3 s"):
        get()
    for thread in threading.enumerate():
        if thread.name.startswith("download of"):
            thread.join(5)
            assert not thread.is_alive()
    hub.fault = lambda request: False
    assert get().read_bytes() == DATA  # nothing holds the lock of the cache


def test_content_that_drips_is_given_up(hub, get, monkeypatch):
    monkeypatch.setattr(conversation, "SLOWEST_SECONDS", 0.5)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode()
    hub.fault = lambda request: request.command == "GET" and drip(request, head, b"x")
    with pytest.raises(errors.DownloadInterruptedError, match="sent only .* bytes in"):
        get()


def test_slow_content_that_comes_is_waited_for(hub, get, monkeypatch):
    monkeypatch.setattr(conversation, "SLOWEST_SECONDS", 0.2)
    monkeypatch.setenv("HF_HUB_DOWNLOAD_TIMEOUT", "2")
    hub.pause = 0.05
    data = BIG[: 20 * (64 << 10)]
    assert get(data, revision=hub.add("org/name", {FILE: data})).read_bytes() == data


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_redirect_in_circles_is_given_up(hub, get, commit, method, absolute):
    about = {"X-Repo-Commit": commit, "ETag": f'"{sha256(DATA)}"'}
    hub.fault = lambda request: (
        request.command == method
        and request.answer(302, headers={**about, "Location": (hub.url if absolute else "") + request.path})
    )
    with pytest.raises(errors.HubServerError, match="redirects more than 10 times"):
        get()
    assert len(hub.requests) < 20


@pytest.mark.parametrize("pinned", [True, False])
def test_content_without_end_is_stopped_at_the_announced_size(hub, get, cache, pinned):
    """Without a length, an answer ends when the hub hangs up."""
    hub.fault = lambda request: (
        request.command == "GET" and drip(request, b"HTTP/1.1 200 OK\r\n\r\n", bytes(1000), pause=0)
    )
    with pytest.raises(errors.HubServerError, match="more than the 3,000 bytes"):
        get(**({} if pinned else {"revision": "main", "sha256": None, "bytes": None}))
    assert not [path for path in cache.rglob("*") if path.is_file() and path.stat().st_size > 3000]


def test_content_that_expands_is_refused(hub, get):
    bomb = gzip.compress(bytes(10 << 20))
    hub.fault = lambda request: request.command == "GET" and request.answer(200, bomb, Content_Encoding="gzip")
    with pytest.raises(errors.HubServerError, match="compressed"):
        get()
    assert all(request.headers["Accept-Encoding"] == "identity" for request in hub.requests)


def test_a_promise_that_the_hub_does_not_make_costs_no_transfer(hub, get):
    with pytest.raises(errors.CorruptWeightsError, match="expected 2,999 bytes, found 3,000"):
        get(bytes=2999)
    assert hub.count("GET") == 0


def test_time_in_which_this_process_computes_is_not_silence(hub, get, monkeypatch):
    """A thread that computes takes the time of the one that talks to the hub."""
    monkeypatch.setenv("HF_HUB_ETAG_TIMEOUT", "0.3")
    monkeypatch.setattr(conversation.Conversation, "_after", busy(conversation.Conversation._after))
    monkeypatch.setattr(conversation.Conversation, "_before", busy(conversation.Conversation._before, after=True))
    assert get().read_bytes() == DATA


def busy(hook, after=False):
    """`hook`, with a second of computing before or after it."""

    def slow(self, message):
        if after:
            hook(self, message)
        end = time.process_time() + 1
        while time.process_time() < end:
            pass
        return None if after else hook(self, message)

    return slow


def test_a_short_answer_is_an_interrupted_download(hub, get):
    hub.fault = lambda request: request.command == "GET" and request.answer(200, DATA[:1000])
    with pytest.raises(errors.DownloadInterruptedError, match="did not send what it announced"):
        get()


def test_a_process_killed_in_the_middle_leaves_nothing_that_loads(hub, get, cache, commit, tmp_path):
    hub.pause = 30
    process = start(
        f"from idgan.zoo.download import fetch; fetch('org/name', '{FILE}', revision='{commit}', "
        f"cache_dir={str(cache)!r})",
        tmp_path,
        HF_ENDPOINT=hub.url,
    )
    while not list(cache.glob("*/blobs/*.incomplete")):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    hub.pause = 0
    with pytest.raises(errors.HubOfflineError):
        get(local_files_only=True)
    assert get().read_bytes() == DATA


def test_other_requests_of_the_client_are_not_the_transfer(hub, commit, tmp_path):
    """The client asks for a list, for its statistics. A web page in its place, or none at all, breaks no download."""
    for fault in (b"<html>", None):
        hub.fault = lambda request, fault=fault: (
            "/api/" in request.path
            and (request.answer(200, fault, Content_Type="text/html") if fault else request.hang_up())
        )
        program = f"""
from huggingface_hub import get_session
from idgan.zoo import download, remote
ask = remote.get_hf_file_metadata
def ask_more(*args, **options):
    for _ in range(5):
        try:
            get_session().get("{hub.url}/api/agent-harnesses")
        except Exception as error:
            assert "idgan" not in type(error).__module__, error
    return ask(*args, **options)
remote.get_hf_file_metadata = ask_more
download.fetch("org/name", "{FILE}", revision="{commit}", cache_dir={str(tmp_path / repr(fault))!r})
"""
        run(program, tmp_path, HF_ENDPOINT=hub.url)


# ------------------------------------------------------------------ processes, offline mode, the disk


def test_processes_that_load_one_uncached_name_download_it_once(hub, commit, tmp_path):
    hub.pause = 0.5
    program = f"""
import os
from idgan.files import sha256_of
from idgan.zoo.download import fetch
children = []
for _ in range(4):
    if not (child := os.fork()):
        path = fetch("org/name", "{FILE}", revision="{commit}", sha256="{sha256(DATA)}")
        os._exit(sha256_of(path) != "{sha256(DATA)}")
    children.append(child)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 4
"""
    run(program, tmp_path, HF_ENDPOINT=hub.url)
    assert hub.count("GET") == 1


def test_offline_mode_makes_no_request(hub, get, cache, commit, tmp_path):
    get()
    hub.add("org/name", {FILE: DATA, "b.safetensors": DATA})
    hub.requests.clear()
    program = f"""
from idgan import errors
from idgan.zoo.download import fetch
options = {{"revision": "{commit}", "cache_dir": {str(cache)!r}}}
path = fetch("org/name", "{FILE}", sha256="{sha256(DATA)}", **options)
for changes in ({{"file": "b.safetensors"}}, {{"repo": "org/other"}}, {{"revision": "main"}}):
    try:
        fetch(**{{"repo": "org/name", "file": "{FILE}", **options, **changes}})
    except errors.HubOfflineError as error:
        assert "HF_HUB_OFFLINE" in str(error)
        print("offline")
path.resolve().write_bytes(b"damaged")
try:
    fetch("org/name", "{FILE}", sha256="{sha256(DATA)}", **options)
except errors.CorruptWeightsError:
    print("corrupt")
"""
    assert run(program, tmp_path, HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="1").split() == ["offline"] * 3 + ["corrupt"]
    assert hub.requests == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs resource limits")
def test_a_full_disk_names_the_path_and_the_size_and_leaves_nothing_that_loads(hub, get, cache, commit, tmp_path):
    program = f"""
import resource
from idgan import errors
from idgan.zoo.download import fetch
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    fetch("org/name", "{FILE}", revision="{commit}", cache_dir={str(cache)!r})
except OSError as error:
    print(error)
"""
    message = run(program, tmp_path, HF_ENDPOINT=hub.url)
    assert "File too large" in message
    assert str(cache) in message
    assert "3,000 bytes" in message
    with pytest.raises(errors.HubOfflineError):
        get(local_files_only=True)
    assert get().read_bytes() == DATA


READ_ONLY = """
import ctypes, logging, os, sys
if not sys.argv[1:]:
    ctypes.CDLL(None).prctl(24, 1, 0, 0, 0)  # PR_CAPBSET_DROP CAP_DAC_OVERRIDE, which holds after exec
    os.execv(sys.executable, [sys.executable, __file__, "again"])
from idgan.zoo.download import fetch
logging.basicConfig(stream=sys.stdout)
cache = {cache!r}
if os.access(cache, os.W_OK):
    sys.exit(print("writable"))
"""


@pytest.fixture
def run_read_only(hub, cache, tmp_path):
    """Run a program that cannot write to the cache; its output."""
    if not sys.platform.startswith("linux"):
        pytest.skip("drops a Linux capability, so that permissions bind root as well")

    def run_program(program):
        folders = [cache, *(path for path in cache.rglob("*") if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        try:
            output = run(READ_ONLY.format(cache=str(cache)) + program, tmp_path, HF_ENDPOINT=hub.url)
        finally:
            for folder in folders:
                folder.chmod(0o755)
        if output == "writable\n":
            pytest.skip("this user may write everywhere")
        return output

    return run_program


def test_a_read_only_cache_loads_what_it_has(hub, get, cache, commit, run_read_only):
    get()
    hub.add("org/name", {FILE: DATA, "b.safetensors": OTHER})
    output = run_read_only(f"""
fetch("org/name", "{FILE}", revision="{commit}", sha256="{sha256(DATA)}", cache_dir=cache)
try:
    fetch("org/name", "b.safetensors", revision="main", cache_dir=cache)
except PermissionError as error:
    print(error)
""")
    assert "could not store b.safetensors" in output
    assert str(cache) in output


def test_a_read_only_cache_serves_its_copy_of_a_branch_that_has_moved(hub, get, run_read_only):
    get(revision="main", sha256=None, bytes=None)
    hub.add("org/name", {FILE: OTHER})
    output = run_read_only(f"""
from idgan.files import sha256_of
print(sha256_of(fetch("org/name", "{FILE}", revision="main", cache_dir=cache)))
""")
    assert "could not store" in output and "Using the cached copy, which may be older" in output
    assert output.splitlines()[-1] == sha256(DATA)


# ------------------------------------------------------------------ tokens


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("methods", [("HEAD", "GET"), ("GET",)])
def test_a_token_does_not_follow_a_redirect_to_another_host(hub, get, commit, methods, host):
    with LocalHub(host) as storage:
        storage.repos = hub.repos
        about = {"X-Repo-Commit": commit, "X-Linked-Etag": f'"{sha256(DATA)}"', "X-Linked-Size": len(DATA)}
        hub.fault = lambda request: (
            request.command in methods
            and request.answer(302, headers={**about, "Location": storage.url + request.path})
        )
        assert get(token="hf_secret").read_bytes() == DATA
        assert hub.requests[0].headers["Authorization"] == "Bearer hf_secret"
        assert storage.count("GET") == 1
        assert not any("hf_secret" in f"{request.path} {request.headers}" for request in storage.requests)


def test_a_token_is_in_no_message_and_no_log(hub, get, caplog):
    caplog.set_level(logging.DEBUG)
    for status in (401, 403, 429, 500):
        hub.fault = lambda request, status=status: request.answer(status)
        with pytest.raises(errors.HubError) as error:
            get(token="hf_secret")
        assert "secret" not in f"{error.value!r} {error.value.__cause__!r}"
    for endpoint in ("http://user:hf_secret@127.0.0.1:9", "http://hf_secret@127.0.0.1:9/", "ftp://user:hf_secret@hub"):
        with pytest.raises(errors.InvalidInputError, match="user name or a password.*token") as error:
            get(endpoint=endpoint)
        assert "secret" not in str(error.value)
    assert "secret" not in caplog.text


@pytest.mark.parametrize("token", ["hf_secret\n", "hf_secret\nHost: evil", "hf_sécret", "hf secret"])
def test_a_token_that_fits_no_header_is_not_quoted(hub, get, token):
    with pytest.raises(errors.HubAuthError) as error:
        get(token=token)
    assert "ecret" not in str(error.value)
    assert error.value.__cause__ is None
    assert error.value.__context__ is None
    assert hub.requests == []


def test_an_empty_token_is_said_to_be_empty(hub, get):
    with pytest.raises(errors.HubAuthError, match="token is empty"):
        get(token="")
    assert hub.requests == []


def test_a_link_header_names_no_place_for_the_token(hub, commit, tmp_path):
    """Xet transfers ask for their key at an address that the hub names."""
    pytest.importorskip("hf_xet")
    with LocalHub("localhost") as other:
        links = {"X-Xet-Hash": "a" * 64, "Link": f'<{other.url}/key>; rel="xet-auth"', "X-Xet-Refresh-Route": "/key"}
        about = {"X-Repo-Commit": commit, "ETag": f'"{sha256(DATA)}"', "Content-Length": len(DATA), **links}
        hub.fault = lambda request: request.command == "HEAD" and request.answer(200, headers=about)
        program = f"""
from idgan.zoo.download import fetch
fetch("org/name", "{FILE}", revision="{commit}", sha256="{sha256(DATA)}", token="hf_secret")
from huggingface_hub import constants
assert not constants.HF_HUB_DISABLE_XET
"""
        run(program, tmp_path, HF_ENDPOINT=hub.url, HF_HUB_DISABLE_XET="0")
        assert other.requests == []


# ------------------------------------------------------------------ the local hub itself


def test_the_local_hub_takes_uploads(hub, tmp_path):
    program = f"""
from huggingface_hub import HfApi
from pathlib import Path
folder = Path({str(tmp_path)!r}, "upload")
folder.mkdir()
(folder / "{FILE}").write_bytes(bytes(3000))
(folder / "README.md").write_text("---\\nlicense: mit\\n---\\nHello")
api = HfApi(token="hf_test")
api.create_repo("org/new")
api.upload_folder(repo_id="org/new", folder_path=folder, commit_message="First")
print(api.model_info("org/new").sha)
"""
    commit = run(program, tmp_path, HF_ENDPOINT=hub.url).strip()
    repo = hub.repos["org/new"]
    assert repo.branches["main"] == commit
    assert repo.commits[commit] == {FILE: bytes(3000), "README.md": b"---\nlicense: mit\n---\nHello"}
    assert repo.messages[-1] == "First"
    path = fetch("org/new", FILE, revision=commit, endpoint=hub.url, cache_dir=tmp_path / "cache", token=False)
    assert path.read_bytes() == bytes(3000)
