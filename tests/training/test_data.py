import tarfile

import numpy as np
import pytest
from PIL import ExifTags, Image

from django_latentimg.codec import ImageError
from tests.conftest import picture, shared
from training import data
from training.data import Crops, pack, prepare, split


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """What ``--shared`` names, with 34 photographs of its own, two of them held out."""
    monkeypatch.setattr(data, "HOLD_OUT", 32)
    for name in ("models/taesd", "metrics/lpips_squeeze"):
        source = shared(name)
        (tmp_path / name).mkdir(parents=True)
        for path in source.glob("*.safetensors"):
            (tmp_path / name / path.name).symlink_to(path.resolve())
    photos = tmp_path / "photos" / "train"
    photos.mkdir(parents=True)
    for number in range(34):
        picture(340, 320 + number).save(photos / f"{number:04}.webp")
    return tmp_path


def unpacked(archive, target):
    with tarfile.open(archive) as opened:
        opened.extractall(target, filter="data")
    return target


def test_pack__holds_all_that_training_needs_but_what_is_held_out(folder, tmp_path):
    archive = tmp_path / "corpus.tar"
    pack(folder, archive)
    target = unpacked(archive, tmp_path / "there")
    names = sorted(path.name for path in (target / "photos/train").iterdir())
    assert len(names) == 32
    assert not {"0000.webp", "0032.webp"} & set(names)
    prepare(target / "photos/train", target / "models/taesd", tmp_path / "corpus")
    training, held_out = split(tmp_path / "corpus")
    assert len(training) == 31
    assert held_out.tolist() == [0]
    pixels, latents = Crops(tmp_path / "corpus", side=64, batch=3, seed=1).at(5)
    assert pixels.shape == (3, 3, 64, 64)
    assert latents.shape == (3, 4, 8, 8)


def test_pack__takes_photographs_evenly_where_not_all_fit(folder, tmp_path, monkeypatch):
    pack(folder, tmp_path / "whole.tar")
    size = sum(
        path.stat().st_size
        for path in (unpacked(tmp_path / "whole.tar", tmp_path / "w") / "photos/train").iterdir()
    )
    monkeypatch.setattr(data, "PACKED_LIMIT", size // 3)
    pack(folder, tmp_path / "part.tar")
    target = unpacked(tmp_path / "part.tar", tmp_path / "p")
    numbers = [int(path.stem) for path in (target / "photos/train").iterdir()]
    assert 7 <= len(numbers) <= 11
    assert min(numbers) < 6
    assert max(numbers) > 27


def test_prepare__goes_on_where_it_stopped(folder, tmp_path):
    """A second run finds all done, and nothing changes."""
    arguments = folder / "photos/train", folder / "models/taesd", tmp_path / "corpus"
    prepare(*arguments)
    before = np.load(tmp_path / "corpus/latents.npy")
    assert before.shape == (34, 4, 40, 40)
    prepare(*arguments)
    assert np.array_equal(np.load(tmp_path / "corpus/latents.npy"), before)
    training, held_out = split(tmp_path / "corpus")
    assert held_out.tolist() == [0, 32]
    assert len(training) == 32


def test_photographs__are_whatever_pillow_opens_and_is_large_enough(tmp_path):
    """A folder as a site has it: folders below, names with spaces, files of other kinds."""
    (tmp_path / "2026/11").mkdir(parents=True)
    picture(400, 330).save(tmp_path / "2026/11/a cat.JPG", "JPEG")
    picture(330, 400).save(tmp_path / "no suffix", "PNG")
    picture(319, 400).save(tmp_path / "small.png")
    (tmp_path / "blob.limg").write_bytes(b"LIMG")
    names, _, side = data.photographs(tmp_path)
    assert (names, side) == (["2026/11/a cat.JPG", "no suffix"], 320)


def test_photographs__are_smaller_where_none_is_large(tmp_path):
    picture(256, 300).save(tmp_path / "one.webp")
    picture(255, 300).save(tmp_path / "two.webp")
    names, _, side = data.photographs(tmp_path)
    assert (names, side) == (["one.webp"], 256)


def test_photographs__small_ones_do_not_change_which_are_held_out(tmp_path):
    """A version of the weights may have been trained on what another had held out."""
    for number in range(66):
        picture(300 if number in (1, 2) else 330, 330).save(tmp_path / f"{number:04}.jpg")
    names, held_out, _ = data.photographs(tmp_path)
    assert len(names) == 64
    assert held_out == ["0000.jpg", "0064.jpg"]


def test_photographs__hold_one_out_where_there_are_few(tmp_path):
    picture(256, 300).save(tmp_path / "0.webp")
    for number in (1, 2):
        picture(330, 330).save(tmp_path / f"{number}.webp")
    assert data.photographs(tmp_path) == (["1.webp", "2.webp"], ["1.webp"], 320)


def test_photographs__says_so_where_there_are_none(tmp_path):
    with pytest.raises(ImageError, match="holds no picture"):
        data.photographs(tmp_path)


def test_prepare__stands_photographs_upright(tmp_path):
    photos, corpus = tmp_path / "photos", tmp_path / "corpus"
    photos.mkdir()
    image = Image.new("RGB", (320, 320), "white")
    image.paste("black", (0, 0, 320, 160))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # The first row is the right side.
    image.save(photos / "turned.jpg", exif=exif)
    prepare(photos, shared("models/taesd"), corpus)
    left, right = np.load(corpus / "pixels.npy")[0, :, :, [80, 240]].mean((1, 2))
    assert left > 250
    assert right < 5


def test_prepare__begins_anew_with_other_photographs(tmp_path):
    photos, corpus = tmp_path / "photos", tmp_path / "corpus"
    photos.mkdir()
    for name in ("b.jpg", "a.jpg"):
        picture(320, 320, seed=ord(name[0])).save(photos / name)
        prepare(photos, shared("models/taesd"), corpus)
    assert (corpus / "names.txt").read_text().splitlines() == ["a.jpg", "b.jpg"]
    assert len(np.load(corpus / "pixels.npy")) == 2
