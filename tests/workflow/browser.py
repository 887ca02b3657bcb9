"""A page in Chromium without a screen: its messages, its pictures, and a picture of itself."""

import re
import shutil
import subprocess

import pytest

# The report shows a picture when it is chosen; here all are decoded while the page loads.
DECODE = """
<div id="decoded"></div>
<script>
for (const [path, result] of Object.entries(results))
  if (result.mime_type.startsWith("image/")) {
    const image = new Image();
    image.alt = path;
    image.src = result.data_uri;
    document.getElementById("decoded").append(image);
  }
window.addEventListener("load", () => {
  for (const image of document.getElementById("decoded").children)
    console.log(`LOADED ${image.naturalWidth} ${image.alt}`);
  document.getElementById("decoded").remove();
});
</script>
"""


def open_report(report, folder, screenshot):
    """Open a report, or skip the test where there is no Chromium.

    Parameters
    ----------
    report : Path
        Of Snakemake.
    folder : Path
        For the browser's own files.
    screenshot : Path
        Where to write what the page looks like.

    Returns
    -------
    messages : list of str
        What the page writes on the console.
    widths : dict of str to int
        Width in pixels of each picture by its path; 0 if it cannot be decoded.
    """
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if chromium is None:
        pytest.skip("there is no Chromium (Debian: apt install chromium)")
    page = folder / "page.html"
    page.write_text(report.read_text(encoding="utf-8") + DECODE, encoding="utf-8")
    screenshot.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000",
            "--window-size=1400,900", f"--screenshot={screenshot}", page.as_uri(),
        ],
        capture_output=True,
        check=True,
        text=True,
        timeout=300,
    )  # fmt: skip
    console = re.findall(r':CONSOLE[^\]]*\] "(.*)", source:', done.stderr)
    loaded = [re.fullmatch(r"LOADED (\d+) (.*)", line) for line in console]
    messages = [line for line, found in zip(console, loaded) if not found]
    return messages, {found[2]: int(found[1]) for found in loaded if found}
