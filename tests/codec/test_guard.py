"""The guard: with real pictures, the bundled model, and AVIF beside it."""

import contextlib
import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from django_latentimg import codec
from django_latentimg.codec import BlobError, ImageError, Latent, container, guard
from django_latentimg.codec.__main__ import main
from django_latentimg.codec.floors import Floors
from django_latentimg.codec.guard import Guard, Verdict, largest_avif, narrowed, smallest_avif
from django_latentimg.codec.patches import Box
from django_latentimg.codec.regions import text_boxes
from tests.codec.test_codec import photograph
from tests.conftest import image_bytes, picture

LABEL = Box(24, 16, 232, 44)


@pytest.fixture(scope="module")
def meadow() -> Image.Image:
    return photograph("grass.png").crop((100, 100, 356, 292))


@pytest.fixture(scope="module")
def labelled(meadow) -> Image.Image:
    image = meadow.copy()
    drawing = ImageDraw.Draw(image)
    drawing.rectangle(LABEL, fill="white")
    font = ImageFont.load_default(14)
    drawing.text((LABEL.left + 8, LABEL.top + 6), "May contain traces of nuts", "black", font)
    return image


@pytest.fixture(scope="module")
def labelled_blob(labelled) -> bytes:
    return codec.encode(labelled, guard=Guard())


def avif_bytes(image: Image.Image, quality: int) -> int:
    return len(image_bytes(image, "AVIF", quality=quality, speed=4))


# What is kept


def test_guard__texture_stays_latents_and_costs_hardly_more(meadow):
    plain, guarded = codec.encode(meadow), codec.encode(meadow, guard=Guard(widths=(120,)))
    verdict = Latent.from_bytes(guarded).verdict
    assert (verdict.kept, verdict.reason) == ("latents", "better")
    assert verdict.ours < verdict.avif
    assert len(guarded) == len(plain) + 20
    assert codec.decode(guarded) == codec.decode(plain)


def test_guard__small_print_becomes_a_patch(labelled, labelled_blob):
    latent = Latent.from_bytes(labelled_blob)
    assert latent.verdict.kept == "latents"
    (box,) = latent.patches().boxes
    rgb = np.asarray(labelled)
    (text,) = text_boxes(rgb)
    assert (text & LABEL) == text
    assert (box & text) == text
    assert text.area > 0.5 * LABEL.area
    floors = Floors(rgb, text=[text])
    assert not floors.failures(np.asarray(codec.decode(labelled_blob)))
    assert floors.failures(np.asarray(codec.decode(codec.encode(labelled))))


def test_guard__patches_show_at_every_width(labelled, labelled_blob):
    plain = codec.encode(labelled)
    for width in (256, 128, 64, 50):
        source = narrowed(np.asarray(labelled), width).astype(float)
        height = round(40 * width / 256)
        errors = [
            np.abs(np.asarray(codec.decode(blob, width=width), float) - source)[:height].mean()
            for blob in (labelled_blob, plain)
        ]
        assert errors[0] < errors[1], width


def test_guard__without_patches_such_a_picture_becomes_avif(labelled):
    blob = codec.encode(labelled, guard=Guard(patches="off"))
    verdict = Latent.from_bytes(blob).verdict
    assert (verdict.kept, verdict.reason) == ("avif", "text")
    rgb = np.asarray(labelled)
    assert not Floors(rgb, text=text_boxes(rgb)).failures(np.asarray(codec.decode(blob)))


def test_guard__a_smooth_picture_becomes_the_smallest_avif_that_is_as_good():
    ramp = Image.linear_gradient("L")
    drawing = Image.merge("RGB", (ramp, ramp.rotate(90), ramp.rotate(180)))
    plain = codec.encode(drawing)
    blob = codec.encode(drawing, guard=Guard())
    latent = Latent.from_bytes(blob)
    assert (latent.verdict.kept, latent.verdict.reason) == ("avif", "worse")
    assert len(blob) <= len(plain) + 20
    rgb = np.asarray(drawing)
    shown = np.asarray(codec.decode(blob))
    assert guard.perceptual.Reference(rgb).distance(shown) <= latent.verdict.ours + 1e-4


def test_guard__avif_in_a_blob_is_no_worse_a_deal_than_an_avif_file(labelled):
    blob = codec.encode(labelled, guard=Guard(patches="off"))
    decoded, rgb = np.asarray(codec.decode(blob)), np.asarray(labelled)
    file = largest_avif(rgb, len(blob))
    reference = guard.perceptual.Reference(rgb)
    assert reference.distance(decoded) <= reference.distance(file.rgb)


def test_guard__fidelity_asks_ssimulacra2(meadow):
    blob = codec.encode(meadow, guard=Guard(prefer="fidelity"))
    verdict = Latent.from_bytes(blob).verdict
    assert verdict.prefer == "fidelity"
    shown = guard.fidelity(np.asarray(meadow), np.asarray(codec.decode(blob)))
    assert shown >= min(verdict.ours, verdict.avif) - 0.1


def test_guard__least_quality_is_kept_whatever_the_bytes(meadow):
    blob = codec.encode(meadow, guard=Guard(min_quality=60))
    verdict = Latent.from_bytes(blob).verdict
    assert (verdict.kept, verdict.reason) == ("avif", "quality")
    assert guard.fidelity(np.asarray(meadow), np.asarray(codec.decode(blob))) >= 60


def test_guard__focal_rectangles_are_kept(meadow):
    focal = Box(96, 64, 160, 128)
    blob = codec.encode(meadow, guard=Guard(focal=(focal, Box(900, 900, 990, 990))))
    decoded = np.asarray(codec.decode(blob))
    assert not Floors(np.asarray(meadow), focal=[focal]).failures(decoded)
    latent = Latent.from_bytes(blob)
    assert latent.verdict.kept == "avif" or latent.patches().boxes[0].covers(focal)


def test_guard__alpha_survives_either_choice(labelled):
    for prefer in ("detail", "fidelity"):
        image = labelled.convert("RGBA")
        image.putalpha(Image.linear_gradient("L").resize(image.size))
        blob = codec.encode(image, guard=Guard(prefer=prefer))
        decoded = codec.decode(blob)
        assert decoded.mode == "RGBA"
        assert decoded.getchannel("A").tobytes() == image.getchannel("A").tobytes()


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (16, 40)])
def test_guard__of_tiny_pictures(size):
    image = picture(64, 64).resize(size)
    for prefer in ("detail", "fidelity"):
        blob = codec.encode(image, guard=Guard(prefer=prefer))
        assert codec.decode(blob).size == size


def test_guard__refuses_what_it_does_not_know():
    with pytest.raises(ImageError, match="beauty"):
        Guard(prefer="beauty")


# AVIF


def test_largest_avif__is_as_large_as_it_may_be(meadow):
    rgb = np.asarray(meadow)
    for limit in (2000, 6000, 15000):
        found = largest_avif(rgb, limit)
        assert len(found.data) <= limit
        assert len(found.data) >= 0.95 * limit or avif_bytes(meadow, found.quality + 1) > limit


def test_largest_avif__of_the_lowest_quality_where_none_is_small_enough(meadow):
    assert largest_avif(np.asarray(meadow), 10).quality == 0


def test_smallest_avif__is_the_smallest_that_is_good(meadow):
    rgb = np.asarray(meadow)
    start = largest_avif(rgb, 4000)
    for least in (10, start.quality, 60):
        found = smallest_avif(rgb, start, lambda avif, least=least: avif.quality >= least)
        assert found.quality == least
    assert smallest_avif(rgb, start, lambda avif: False).quality == guard.BEST_AVIF


# What the blob says


@given(
    st.sampled_from(["latents", "avif"]),
    st.sampled_from(guard.PREFERENCES),
    st.sampled_from(guard.REASONS),
    st.lists(st.floats(0, 1, width=16), min_size=4, max_size=4),
)
def test_verdict__comes_back(kept, prefer, reason, measures):
    verdict = Verdict(kept, prefer, reason, *measures)
    assert Verdict.unpack(verdict.pack()) == verdict


@given(st.binary(max_size=14))
def test_verdict__damage_is_a_blob_error(payload):
    with contextlib.suppress(BlobError):
        Verdict.unpack(payload)


def test_latent__of_a_picture_kept_as_avif_has_no_latents(labelled):
    blob = codec.encode(labelled, guard=Guard(patches="off"))
    latent = Latent.from_bytes(blob)
    assert not latent.has_latents
    for ask in (latent.symbols, latent.rounded, latent.hints, latent.safetensors):
        with pytest.raises(BlobError, match="no latents"):
            ask()


def test_decode__refuses_an_avif_of_another_size_or_another_format(meadow):
    header = container.Header(64, 64, "sd1", 50, 50, "0badcafe")
    for stored in (
        image_bytes(meadow.resize((64, 65)), "AVIF"),
        image_bytes(meadow.resize((64, 64)), "PNG"),
        image_bytes(meadow.resize((64, 64)), "AVIF")[:200],
        b"",
    ):
        with pytest.raises(BlobError):
            codec.decode(container.pack(header, {container.IMAGE: stored}))


def test_info__tells_the_verdict(labelled, tmp_path, monkeypatch, capsys):
    source, blob = tmp_path / "label.png", tmp_path / "label.limg"
    labelled.save(source)
    for arguments in (["encode", str(source), str(blob), "--guard", "detail"], ["info", str(blob)]):
        monkeypatch.setattr("sys.argv", ["codec", *arguments])
        assert main() == 0
    info = json.loads(capsys.readouterr().out)
    assert info["kept"] == info["guard"]["kept"] == "latents"
    assert info["guard"]["ours"] < info["guard"]["avif"]
    assert len(info["patches"]) == 1


def test_decode__of_avif_needs_no_torch(labelled, tmp_path):
    import subprocess
    import sys

    path = tmp_path / "label.limg"
    path.write_bytes(codec.encode(labelled, guard=Guard(patches="off")))
    code = (
        "import sys; from pathlib import Path; from django_latentimg.codec import decode; "
        f"print(decode(Path({str(path)!r}).read_bytes(), width=100).size, 'torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "(100, 75) False"


def test_rendition_of_a_patch_is_like_the_source(labelled, labelled_blob):
    target = io.BytesIO()
    codec.decode(labelled_blob, width=128).save(target, "WEBP", quality=90)
    shown = np.asarray(Image.open(target).convert("RGB"), float)[8:20, 16:112]
    wanted = narrowed(np.asarray(labelled), 128).astype(float)[8:20, 16:112]
    assert np.corrcoef(shown.ravel(), wanted.ravel())[0, 1] > 0.95
