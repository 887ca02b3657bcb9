"""Images, stars and reddening from servers that answer well, badly, late and not at all."""

import gzip
import http.server
import re
import threading
import urllib.parse

import numpy as np
import pytest
from astropy.io import fits
from sky_images import GALAXY

from dustcast.archive import gaia, images, kernels, reddening
from dustcast.archive.download import kept
from dustcast.imaging import matching
from dustcast.imaging.images import read_image
from dustcast.tables import DataError, read_csv

QUICK = {"tries": 3, "wait_s": 0.01, "timeout_s": 5.0}
PAGE = b"<!DOCTYPE html><html><body>Log in</body></html>"
DUST = b"""<?xml version="1.0"?>
<results status="ok"><result><desc>E(B-V) Reddening</desc><statistics>
<refPixelValueSandF> 0.0363 (mag)</refPixelValueSandF> <stdSandF> 0.0007 (mag)</stdSandF>
<refPixelValueSFD> 0.0422 (mag)</refPixelValueSFD> <stdSFD> 0.0008 (mag)</stdSFD>
</statistics></result></results>"""
STARS = "\n".join([",".join(gaia.COLUMNS), "1,150.1,20.1,1.5,0.1,3,0.1,-2,0.1,12.5", ""]).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers by the server's function of (method, path, query, number of the request)."""

    def do_GET(self):
        self.answer(None)

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        self.answer(urllib.parse.parse_qs(self.rfile.read(length).decode()))

    def answer(self, form):
        parts = urllib.parse.urlsplit(self.path)
        query = form if form is not None else urllib.parse.parse_qs(parts.query)
        self.server.requests.append((parts.path, query))
        status, content, headers = self.server.reply(parts.path, query, len(self.server.requests))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    """Return a function that starts a server with a function of replies."""
    servers = []

    def start(reply):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.reply, server.requests = reply, []
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return server, f"http://127.0.0.1:{server.server_port}"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def fits_bytes(tmp_path):
    path = tmp_path / "some.fits"
    fits.PrimaryHDU([[1.0, 2.0]]).writeto(path)
    return path.read_bytes()


# ---------------------------------------------------------------------------------------------
# Images


def image_url(base):
    return base + "/Data/GetImage?imageName={galaxy}_{band}.fits{packed}&instrument={instrument}"


@pytest.mark.parametrize("packed", [False, True])
def test_image_comes(serve, tmp_path, packed):
    content = fits_bytes(tmp_path)
    sent = gzip.compress(content) if packed else content
    server, base = serve(lambda *request: (200, sent, {}))
    output = tmp_path / "a.fits"
    band = "Spitzer_3.6" if packed else "WISE_12"
    images.fetch_image("NGC1", band, output, url=image_url(base), **QUICK)
    assert output.read_bytes() == sent
    assert fits.getdata(output).tolist() == [[1.0, 2.0]]
    path, query = server.requests[0]
    assert path == "/Data/GetImage"
    assert query == {
        "imageName": [f"NGC1_{band}.fits" + (".gz" if packed else "")],
        "instrument": [band.split("_")[0]],
    }


def test_address_is_that_of_dustpedia():
    url = images.IMAGE_URL.format(galaxy="NGC1", band="WISE_12", packed="", instrument="WISE")
    assert url == (
        "http://dustpedia.astro.noa.gr/Data/GetImage?imageName=NGC1_WISE_12.fits&instrument=WISE"
    )


@pytest.mark.parametrize("content", [PAGE, b"", b"\x1f\x8bnonsense", gzip.compress(PAGE, mtime=0)])
def test_answer_that_is_no_image(serve, tmp_path, content):
    _, base = serve(lambda *request: (200, content, {}))
    output = tmp_path / "a.fits"
    with pytest.raises(DataError, match="is no FITS file"):
        images.fetch_image("NGC1", "WISE_12", output, url=image_url(base), **QUICK)
    assert not output.exists()


def test_band_that_the_archive_lacks_is_an_empty_product(serve, tmp_path):
    _, base = serve(lambda *request: (404, b"no", {}))
    output = tmp_path / "a.fits"
    images.fetch_image("NGC1", "WISE_12", output, url=image_url(base), **QUICK)
    with fits.open(output) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["DC_OK"] is False
    with pytest.raises(DataError, match="DustPedia archive has no image of NGC1 in WISE_12"):
        read_image(output, "WISE_12")


def cards(path):
    with fits.open(path) as hdus:
        return dict(hdus[0].header)


def test_galaxy_that_dustpedia_lacks_comes_from_its_own_address(serve, tmp_path):
    content = fits_bytes(tmp_path)
    _, base = serve(lambda path, *_: (200 if path == "/m31.fits" else 404, content, {}))
    output = tmp_path / "a.fits"
    product = {"url": f"{base}/m31.fits", "source": "someone"}
    images.fetch_image("M31", "WISE_12", output, product=product, url="none", **QUICK)
    assert output.read_bytes() == content
    product = {"url": f"{base}/other.fits", "source": "someone"}
    images.fetch_image("M31", "WISE_12", output, product=product, url="none", **QUICK)
    assert cards(output)["DC_OK"] is False


def test_galaxy_without_address_says_so(tmp_path, capsys):
    output, product = tmp_path / "a.fits", {"url": "", "source": "someone (2005)"}
    images.fetch_image("M31", "WISE_12", output, product=product, url="none")
    assert "no address in config/products.csv (source: someone (2005))" in capsys.readouterr().out
    with pytest.raises(DataError, match="M31 in WISE_12 has no address"):
        read_image(output, "WISE_12")
    (tmp_path / "images").mkdir()
    content = fits_bytes(tmp_path)
    (tmp_path / "images" / "M31_WISE_12.fits").write_bytes(content)
    images.fetch_image("M31", "WISE_12", output, product=product, mirror=tmp_path, url="none")
    assert output.read_bytes() == content


@pytest.fixture(scope="module")
def many_hdus():
    """Every kind of HDU: images of several types, tables with a heap, tiles, an empty one."""
    rng = np.random.default_rng(1)
    column = fits.Column("a", "PJ()", array=np.array([[1, 2], [3]], dtype=object))
    return fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.ImageHDU(rng.normal(size=(3, 50, 70)).astype(np.float32)),
            fits.BinTableHDU.from_columns([column, fits.Column("b", "E", array=[1.0, 2.0])]),
            fits.CompImageHDU(np.arange(40000, dtype=np.int32).reshape(200, 200)),
            fits.ImageHDU(np.arange(5000, dtype=np.int16).reshape(50, 100)),
        ]
    )


@pytest.mark.parametrize("packed", [False, True])
def test_whole_file_is_told_from_a_short_one(many_hdus, tmp_path, packed):
    plain = tmp_path / "plain.fits"
    many_hdus.writeto(plain)
    content = plain.read_bytes()
    path = tmp_path / "a.fits"
    path.write_bytes(gzip.compress(content) if packed else content)
    images.check_fits(path, path)
    # The last data unit ends 10000 bytes after a header that begins on a block.
    short = content[: len(content) - len(content) % 2880 - 2 * 2880]
    for cut in (short, content[:4000]):
        path.write_bytes(gzip.compress(cut) if packed else cut)
        with pytest.raises(DataError, match="is shorter than its header says"):
            images.check_fits(path, path)
    if packed:
        path.write_bytes(gzip.compress(content)[:-2000])
        with pytest.raises(DataError, match="is shorter than its header says"):
            images.check_fits(path, path)


def test_real_image_is_whole(data):
    path = data / "maps" / "NGC5584" / "NGC5584_GALEX_NUV.fits.gz"
    images.check_fits(path, path)


# ---------------------------------------------------------------------------------------------
# Kernels


def test_kernels_come_once(serve, tmp_path, data):
    name = "Kernel_LoRes_WISE_FRAME_4.6_to_SPIRE_350.fits"
    source = next((data / "psf").glob("Kernel_LoRes_*"))
    content = source.read_bytes()
    served = {f"/{name}.gz": content, "/Kernel_LoRes_A_to_B.fits": gzip.decompress(content)}
    server, base = serve(
        lambda path, *_: (200, served[path], {}) if path in served else (404, b"", {})
    )
    index = tmp_path / "kernels" / "index.csv"
    pairs = [("WISE_FRAME_4.6", "SPIRE_350"), ("A", "B"), ("A", "C")]
    url = base + "/{file}"
    kernels.fetch_kernels(pairs, index, url=url, **QUICK)
    assert [row["file"] for row in read_csv(index)] == [name, "Kernel_LoRes_A_to_B.fits", ""]
    # The stage that uses them finds and reads them.
    path = matching.kernel_file(index.parent, "WISE_4.6", "SPIRE_350")
    assert path.name == name
    assert matching.read_kernel(path, "WISE_4.6", "SPIRE_350").residual < 0.01
    asked = len(server.requests)
    kernels.fetch_kernels(pairs[:2], index, url=url, **QUICK)
    assert len(server.requests) == asked


def test_kernel_server_that_fails(serve, tmp_path):
    _, base = serve(lambda *_: (503, b"", {}))
    index = tmp_path / "kernels" / "index.csv"
    with pytest.raises(DataError, match="it answered 503"):
        kernels.fetch_kernels([("A", "B")], index, url=base + "/{file}", **QUICK)
    assert not index.exists()


def test_kernels_in_the_mirror(tmp_path):
    (tmp_path / "mirror" / "kernels").mkdir(parents=True)
    content = fits_bytes(tmp_path)
    name = "Kernel_LoRes_A_to_B.fits"
    (tmp_path / "mirror" / "kernels" / f"{name}.gz").write_bytes(gzip.compress(content))
    index = tmp_path / "data" / "kernels" / "index.csv"
    kernels.fetch_kernels([("A", "B")], index, mirror=tmp_path / "mirror", url="none")
    assert (index.parent / name).read_bytes() == content


def test_server_that_fails(serve, tmp_path):
    server, base = serve(lambda *request: (503, b"", {}))
    with pytest.raises(DataError, match="it answered 503"):
        images.fetch_image("NGC1", "WISE_12", tmp_path / "a", url=image_url(base), **QUICK)
    assert len(server.requests) == 3


def test_image_in_the_mirror(tmp_path):
    content = fits_bytes(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "NGC1_WISE_12.fits.gz").write_bytes(gzip.compress(content))
    output = tmp_path / "data" / "a.fits"
    images.fetch_image("NGC1", "WISE_12", output, mirror=tmp_path, url="none")
    assert output.read_bytes() == content


def test_whole_files_are_kept(tmp_path):
    path = tmp_path / "a.fits"
    assert not kept(path)
    path.write_bytes(PAGE)
    assert not kept(path, images.check_fits)
    path.write_bytes(fits_bytes(tmp_path))
    assert kept(path, images.check_fits)


# ---------------------------------------------------------------------------------------------
# Reddening


def test_reddening(serve, tmp_path):
    server, base = serve(lambda path, query, n: (200 if n > 1 else 500, DUST, {}))
    output = tmp_path / "a.csv"
    reddening.fetch_reddening(GALAXY, output, service=base, **QUICK)
    assert read_csv(output) == [
        {"galaxy": "NGC1", "ebv": "0.0422", "ebv_err": "0.0008", "source": "IRSA, SFD scale"}
    ]
    assert server.requests[-1][1] == {"locstr": ["150.00000 20.00000 equ j2000"]}
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<p>try later", "what is not XML"),
        (b"<results status='error'><message>no</message></results>", "without refPixelValueSFD"),
        (DUST.replace(b"stdSFD", b"other"), "without stdSFD"),
    ],
)
def test_reddening_that_is_none(serve, tmp_path, content, message):
    _, base = serve(lambda *request: (200, content, {}))
    with pytest.raises(DataError, match=message):
        reddening.fetch_reddening(GALAXY, tmp_path / "a.csv", service=base, **QUICK)
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------------------------------
# Gaia


def tap(base, phases, content=STARS):
    """Return the replies of an asynchronous TAP service that goes through some phases."""
    left = list(phases)

    def reply(path, query, n):
        if path == "/tap/async":
            return 303, b"", {"Location": f"{base()}/tap/async/77"}
        if path == "/tap/async/77":
            return 200, b"<uws:job/>", {}
        if path == "/tap/async/77/phase":
            phase = left.pop(0) if len(left) > 1 else left[0]
            return (503, b"", {}) if phase == "busy" else (200, phase.encode(), {})
        if path == "/tap/async/77/results/result":
            return 200, content, {}
        return 404, b"", {}

    return reply


@pytest.fixture
def gaia_server(serve):
    def start(phases, content=STARS):
        address = []
        server, base = serve(tap(lambda: address[0], phases, content))
        address.append(base)
        return server, f"{base}/tap"

    return start


def test_stars_come(gaia_server, tmp_path):
    server, service = gaia_server(["QUEUED", "busy", "EXECUTING", "COMPLETED"])
    output = tmp_path / "gaia.csv"
    gaia.fetch_gaia(GALAXY, output, service=service, **QUICK)
    assert output.read_bytes() == STARS
    path, form = server.requests[0]
    assert path == "/tap/async"
    assert form["LANG"] == ["ADQL"]
    assert form["PHASE"] == ["RUN"]
    # Twice the semi-major axis of 60 arcsec.
    assert re.search(r"CIRCLE\('ICRS',150\.000000,20\.000000,0\.03333\)", form["QUERY"][0])


@pytest.mark.parametrize(
    ("phases", "content", "message"),
    [
        (["ERROR"], STARS, "ended as ERROR"),
        (["EXECUTING"], STARS, r"is still EXECUTING after 0\.05 s"),
        (["busy"], STARS, "could not be asked .it answered 503"),
        (["COMPLETED"], b"ra,dec\n1,2\n", "lacks the column source_id"),
        (["COMPLETED"], PAGE, "lacks the column"),
    ],
)
def test_stars_do_not_come(gaia_server, tmp_path, phases, content, message):
    _, service = gaia_server(phases, content)
    with pytest.raises(DataError, match=message):
        gaia.fetch_gaia(
            GALAXY, tmp_path / "gaia.csv", service=service, longest_s=0.05, **QUICK
        )  # fmt: skip
    assert list(tmp_path.iterdir()) == []
