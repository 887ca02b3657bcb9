"""Fetching from a mirror and over a network that fails in many ways."""

import gzip
import hashlib
import http.server
import itertools
import re
import socket
import threading
import time

import pytest

from dustcast.archive.download import fetch
from dustcast.tables import DataError

CONTENT = b"name,value\n" + bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "folder/table.csv"


class Faulty(http.server.BaseHTTPRequestHandler):
    """Answers each request by the next of the server's list of faults, the last for ever."""

    def do_GET(self):
        server = self.server
        kind = server.faults[min(len(server.requests), len(server.faults) - 1)]
        server.requests.append((kind, self.headers.get("Range"), time.monotonic()))
        getattr(self, kind)()

    def send(self, status, content, *, length=None, headers=()):
        self.send_response(status)
        if length != "none":
            self.send_header("Content-Length", str(len(content) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def good(self):
        """Return the content, or the part of it that is asked for."""
        start = self.headers.get("Range")
        if start:
            begin = int(re.fullmatch(r"bytes=(\d+)-", start)[1])
            span = f"bytes {begin}-{len(CONTENT) - 1}/{len(CONTENT)}"
            self.send(206, CONTENT[begin:], headers=[("Content-Range", span)])
        else:
            self.send(200, CONTENT)

    def cut(self):
        """Promise the whole and close after 100,000 bytes."""
        start = self.headers.get("Range")
        begin = int(start[6:-1]) if start else 0
        part = CONTENT[begin : begin + 100_000]
        self.send(206 if start else 200, part, length=len(CONTENT) - begin)
        self.close_connection = True

    def whole(self):
        """Ignore that only a part is asked for."""
        self.send(200, CONTENT)

    def wrong_length(self):
        self.send(200, CONTENT, length=len(CONTENT) + 7)

    def no_length(self):
        self.send(200, CONTENT, length="none")

    def no_length_cut(self):
        self.send(200, CONTENT[:-5], length="none")

    def chunk_cut(self):
        """Break off inside a chunked answer."""
        self.protocol_version = "HTTP/1.1"
        self.send(200, b"1000\r\nabc", length="none", headers=[("Transfer-Encoding", "chunked")])

    def no_http(self):
        self.wfile.write(b"\x00\x01 not HTTP\r\n\r\n")

    def drop(self):
        self.connection.shutdown(socket.SHUT_RDWR)

    def page(self):
        self.send(200, b"  <!DOCTYPE html><html><body>Please log in</body></html>")

    def other(self):
        self.send(200, CONTENT[::-1])

    def not_found(self):
        self.send(404, b"nothing here")

    def server_error(self):
        self.send(500, b"")

    def busy(self):
        self.send(503, b"")

    def out_of_range(self):
        self.send(416, b"")

    def silent(self):
        self.server.released.wait(5)

    def slow(self):
        """Send a third, then nothing."""
        self.send(200, CONTENT[:100_000], length=len(CONTENT))
        self.wfile.flush()
        self.server.released.wait(5)

    def log_message(self, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        """Keep quiet of connections that the client gave up."""


@pytest.fixture
def serve():
    """Return a function that starts a server with a list of faults."""
    servers = []

    def start(*faults):
        server = Server(("127.0.0.1", 0), Faulty)
        server.faults, server.requests, server.released = faults, [], threading.Event()
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return server, f"http://127.0.0.1:{server.server_port}/table.csv"

    yield start
    for server, thread in servers:
        server.released.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def output(tmp_path):
    return tmp_path / "data" / "folder" / "table.csv"


def get(output, url, **changes):
    options = {"sha256": SHA256, "tries": 4, "wait_s": 0.01, "timeout_s": 5.0} | changes
    fetch(NAME, output, url=url, **options)


def refused(output, url, **changes):
    """Return the sentence of a refusal, after which nothing may be left."""
    with pytest.raises(DataError) as fault:
        get(output, url, **changes)
    assert not output.exists()
    assert not output.parent.exists() or list(output.parent.iterdir()) == []
    text = str(fault.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("faults", "n_requests"),
    [
        (["good"], 1),
        (["no_length"], 1),
        (["server_error", "good"], 2),
        (["busy", "busy", "busy", "good"], 4),
        (["drop", "good"], 2),
        (["no_http", "good"], 2),
        (["chunk_cut", "whole"], 2),
        (["wrong_length", "whole"], 2),
        (["cut", "good"], 2),
        (["cut", "cut", "cut", "good"], 4),
        (["cut", "whole"], 2),
        (["cut", "server_error", "good"], 3),
        (["cut", "out_of_range", "good"], 3),
    ],
)
def test_faults_that_pass(serve, output, faults, n_requests):
    server, url = serve(*faults)
    get(output, url)
    assert output.read_bytes() == CONTENT
    assert [path.name for path in output.parent.iterdir()] == ["table.csv"]
    assert len(server.requests) == n_requests


def test_a_broken_transfer_is_continued_where_it_broke(serve, output):
    server, url = serve("cut", "cut", "good")
    get(output, url)
    assert [part for _, part, _ in server.requests] == [None, "bytes=100000-", "bytes=200000-"]


def test_waits_double(serve, output):
    server, url = serve("server_error")
    refused(output, url, wait_s=0.1)
    times = [when for _, _, when in server.requests]
    waits = [after - before for before, after in itertools.pairwise(times)]
    for wait, expected in zip(waits, (0.1, 0.2, 0.4)):
        assert expected <= wait < expected + 0.1


@pytest.mark.parametrize(
    ("faults", "message", "n_requests"),
    [
        (["not_found"], r"could not be fetched \(it answered 404 Not Found\): try again later", 1),
        (["server_error"], r"\(it answered 500 Internal Server Error\)", 4),
        (["wrong_length", "wrong_length"], r"could not be fetched \(it sent", 4),
        (["chunk_cut"], "could not be fetched", 4),
        (["no_http"], "could not be fetched", 4),
        (["drop"], "could not be fetched", 4),
        (["page"], "is not the file that is expected but a web page: see config/downloads.csv", 1),
        (["other"], r"is not the file that is expected \(its sha256 is [0-9a-f]{12}\.\.\.\)", 1),
        (["no_length_cut"], "is not the file that is expected", 1),
    ],
)
def test_faults_that_stay(serve, output, faults, message, n_requests):
    server, url = serve(*faults)
    text = refused(output, url)
    assert re.search(message, text)
    assert text.startswith(url)
    assert len(server.requests) == n_requests


def test_a_refused_connection(output):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = refused(output, f"http://127.0.0.1:{port}/x")
    assert "Connection refused" in text
    assert "name that as mirror in the configuration" in text


@pytest.mark.parametrize("fault", ["silent", "slow"])
def test_a_server_that_falls_silent(serve, output, fault):
    server, url = serve(fault)
    start = time.monotonic()
    text = refused(output, url, tries=2, timeout_s=0.2)
    assert "timed out" in text
    assert time.monotonic() - start < 2
    assert len(server.requests) == 2


def test_a_slow_start_is_continued(serve, output):
    server, url = serve("slow", "good")
    get(output, url, timeout_s=0.2)
    assert output.read_bytes() == CONTENT
    assert server.requests[1][1] == "bytes=100000-"


def test_a_file_that_stands_stays_if_the_new_one_fails(serve, output):
    _, url = serve("other")
    output.parent.mkdir(parents=True)
    output.write_bytes(b"old")
    with pytest.raises(DataError):
        get(output, url)
    assert output.read_bytes() == b"old"
    assert len(list(output.parent.iterdir())) == 1


def test_without_a_checksum_any_content_is_taken(serve, output):
    _, url = serve("other")
    get(output, url, sha256="")
    assert output.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/x", "table.csv"])
def test_other_addresses_are_refused(output, url):
    assert "is not http or https: correct config/downloads.csv" in refused(output, url)


# --- the mirror ----------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path):
    folder = tmp_path / "mirror"
    (folder / "folder").mkdir(parents=True)
    return folder


def test_the_mirror_comes_first(serve, output, mirror):
    server, url = serve("good")
    (mirror / NAME).write_bytes(CONTENT)
    get(output, url, mirror=mirror)
    assert output.read_bytes() == CONTENT
    assert server.requests == []
    assert not output.is_symlink()


def test_the_mirror_may_hold_packed_files(output, mirror):
    (mirror / f"{NAME}.gz").write_bytes(gzip.compress(CONTENT))
    get(output, "", mirror=mirror)
    assert output.read_bytes() == CONTENT


def test_what_the_mirror_lacks_is_fetched(serve, output, mirror):
    _, url = serve("good")
    get(output, url, mirror=mirror)
    assert output.read_bytes() == CONTENT
    assert list((mirror / "folder").iterdir()) == []


def damaged(kind):
    packed = bytearray(gzip.compress(CONTENT))
    if kind == "cut":
        return bytes(packed[:-100])
    if kind == "flipped":
        packed[len(packed) // 2] ^= 255
    elif kind == "checksum":
        packed[-6] ^= 255
    elif kind == "text":
        return b"no gzip at all"
    return bytes(packed)


@pytest.mark.parametrize("kind", ["cut", "flipped", "checksum", "text"])
def test_damaged_packed_files_are_refused(output, mirror, kind):
    (mirror / f"{NAME}.gz").write_bytes(damaged(kind))
    text = refused(output, "", mirror=mirror)
    assert text == f"{mirror / NAME}.gz is cut short or damaged: copy it anew"


def test_another_content_in_the_mirror_is_refused_and_not_replaced(serve, output, mirror):
    server, url = serve("good")
    (mirror / NAME).write_bytes(b"<html>login</html>")
    text = refused(output, url, mirror=mirror)
    assert text.startswith(f"{mirror / NAME} is not the file that is expected but a web page")
    assert server.requests == []


def test_a_file_without_address_says_where_it_belongs(output, mirror):
    text = refused(output, "")
    assert text == (
        f"{NAME} is not in the data folder and has no address of its own: copy it to {output} "
        "(config/downloads.csv says where it comes from)"
    )
    text = refused(output, "", mirror=mirror)
    assert text.startswith(f"{NAME} is neither in the mirror {mirror} nor in the data folder and")
