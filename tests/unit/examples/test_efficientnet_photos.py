"""`photos` and `packages`: files of packages are found without importing, and cut the same way every time."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from examples.efficientnet_lite import photos
from examples.efficientnet_lite.errors import MissingPackageError
from examples.efficientnet_lite.packages import files_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def labelled() -> tuple[photos.Photo, ...]:
    return photos.load_photos()


def install(folder: Path, *, name: str, files: dict[str, str | None]) -> None:
    """Lay out a package as pip leaves it; a file of ``None`` is recorded and absent."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file, content in files.items():
        if content is not None:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(content)


def test_twenty_photos_with_the_labels_of_their_names(labelled: tuple[photos.Photo, ...]) -> None:
    assert len(labelled) == 20
    assert [photo.name for photo in labelled] == sorted(photo.name for photo in labelled)
    assert (labelled[0].label, labelled[10].label, labelled[19].label) == (243, 541, 305)
    for photo in labelled:
        with Image.open(io.BytesIO(photo.data)) as image:
            assert image.mode == "RGB"


def test_a_photo_gives_five_square_crops_the_same_every_time(labelled: tuple[photos.Photo, ...]) -> None:
    wide = labelled[10]
    crops = photos.calibration_images(wide)
    assert crops == photos.calibration_images(wide)
    assert list(crops) == [f"imagenet_10_541_crop{index}.jpg" for index in range(5)]
    assert len(set(crops.values())) == 5
    for data in crops.values():
        with Image.open(io.BytesIO(data)) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (256, 256))


def test_a_mirrored_crop_exchanges_left_and_right(monkeypatch: pytest.MonkeyPatch) -> None:
    half = Image.new("RGB", (64, 64))
    half.paste((255, 255, 255), (0, 0, 32, 64))
    stream = io.BytesIO()
    half.save(stream, "PNG")
    photo = photos.Photo(name="imagenet_00_1.jpg", label=1, data=stream.getvalue())
    crops = tuple(photos.Crop(side=1.0, left=0.0, top=0.0, mirrored=mirrored) for mirrored in (False, True))
    monkeypatch.setattr(photos, "CROPS", crops)
    plain, mirrored = (Image.open(io.BytesIO(data)) for data in photos.calibration_images(photo).values())
    assert plain.getpixel((20, 128)) == mirrored.getpixel((235, 128)) == (255, 255, 255)
    assert plain.getpixel((235, 128)) == mirrored.getpixel((20, 128)) == (0, 0, 0)


@pytest.mark.parametrize(("width", "height"), [(512, 512), (1024, 683), (3, 200), (1, 1)])
def test_crops_lie_inside_the_photo_and_cover_its_shorter_side(width: int, height: int) -> None:
    boxes = [photos.crop_box(width, height, crop) for crop in photos.CROPS]
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert right - left == bottom - top
    assert min(box[0] for box in boxes) == min(box[1] for box in boxes) == 0
    assert max(box[2] for box in boxes) == width
    assert max(box[3] for box in boxes) == height


def test_a_file_that_is_no_image_is_named() -> None:
    photo = photos.Photo(name="imagenet_00_1.jpg", label=1, data=b"not a photo")
    with pytest.raises(MissingPackageError, match=r"'imagenet_00_1.jpg' is not a readable image"):
        photos.calibration_images(photo)


def test_a_name_without_a_label_is_refused() -> None:
    with pytest.raises(MissingPackageError, match=r"'cat\.jpg': got no class index"):
        photos.label_of("cat.jpg")


def test_an_absent_package_is_answered_with_the_command() -> None:
    with pytest.raises(MissingPackageError) as caught:
        files_of("edgewright-no-such-package==1.0", ".*")
    assert caught.value.code == "missing_package"
    assert caught.value.args[0] == "Package 'edgewright-no-such-package' is not installed."
    assert caught.value.hint == "Run: python -m pip install --no-deps edgewright-no-such-package==1.0"


def test_files_are_found_by_their_recorded_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        tmp_path,
        name="ew_photos",
        files={"ew_photos/b.jpg": "b", "ew_photos/a.jpg": "a", "ew_photos/a.py": ""},
    )
    monkeypatch.syspath_prepend(tmp_path)
    found = files_of("ew_photos==2.0", r"ew_photos/.\.jpg")
    assert [path.read_text() for path in found] == ["a", "b"]


@pytest.mark.parametrize("pattern", [r"ew_broken/lost\.jpg", r"ew_broken/other\.jpg"])
def test_a_broken_package_is_answered_with_a_reinstall(
    pattern: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, name="ew_broken", files={"ew_broken/lost.jpg": None})
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPackageError, match="has no file that matches") as caught:
        files_of("ew_broken==1.0", pattern)
    assert caught.value.hint == "Run: python -m pip install --force-reinstall --no-deps ew_broken==1.0"


def test_another_number_of_photos_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, name="ew_few", files={"foolbox/data/imagenet_00_243.jpg": ""})
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(photos, "PHOTOS_PACKAGE", "ew_few==1.0")
    with pytest.raises(MissingPackageError, match="got 1 ImageNet photos, expected 20"):
        photos.load_photos()
