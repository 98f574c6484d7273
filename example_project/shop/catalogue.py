"""The sixteen prints that the demo sells: photographs that two Python packages bring along."""

from dataclasses import dataclass
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

FOLDERS = {"skimage": "data", "sklearn": "datasets/images"}
"""Where each package keeps its photographs, inside itself."""

LIBRARIES = {"skimage": "scikit-image", "sklearn": "scikit-learn"}
"""What the packages call themselves."""


@dataclass(frozen=True)
class Print:
    package: str
    file: str
    title: str
    price: Decimal
    description: str
    photographer: str

    @property
    def path(self) -> Path:
        """Raises ``FileNotFoundError`` where the package or the file is absent."""
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"{LIBRARIES[self.package]} is not installed")
        # Not imported: that would take seconds, and only the file is wanted.
        path = Path(spec.submodule_search_locations[0]) / FOLDERS[self.package] / self.file
        if not path.is_file():
            raise FileNotFoundError(f"{LIBRARIES[self.package]} comes without {self.file}")
        return path

    @property
    def credit(self) -> str:
        return f"{self.photographer}, via {LIBRARIES[self.package]}"


PRINTS = [
    Print(
        "sklearn",
        "flower.jpg",
        "Dahlia, late August",
        Decimal("28.00"),
        "One dahlia fully open, one still deciding. The blue behind them is all shade and "
        "leaves, and goes down to nearly black at the corners.",
        "vultilion on Flickr (CC BY 2.0)",
    ),
    Print(
        "skimage",
        "astronaut.png",
        "Commander in orange",
        Decimal("34.00"),
        "Eileen Collins, who piloted the shuttle in 1995 and four years later was the first "
        "woman to command one. A portrait for anyone who needs a launch date.",
        "NASA (public domain)",
    ),
    Print(
        "skimage",
        "hubble_deep_field.jpg",
        "Deep field",
        Decimal("39.00"),
        "The farthest the Hubble telescope ever looked: nearly every dot is a galaxy. Hang it "
        "where people stand close, it has no end.",
        "NASA, ESA (public domain)",
    ),
    Print(
        "sklearn",
        "china.jpg",
        "Tower above the lake",
        Decimal("32.00"),
        "Four storeys of painted eaves, a hazy lake and a summer sky with room for everything. "
        "The greens and reds are as found.",
        "danielbuechele on Flickr (CC BY 2.0)",
    ),
    Print(
        "skimage",
        "chelsea.png",
        "Chelsea",
        Decimal("22.00"),
        "A cat who has seen you open the fridge. Small, warm, and looks past the viewer from "
        "every angle in the room.",
        "Stéfan van der Walt (CC0)",
    ),
    Print(
        "skimage",
        "coffee.png",
        "Second espresso",
        Decimal("24.00"),
        "Red saucer, oak table, the first one already gone. Pulled and photographed at the "
        "Pikolo Espresso Bar in Montréal.",
        "Rachel Michetti (CC0)",
    ),
    Print(
        "skimage",
        "rocket.jpg",
        "Cape Canaveral, before dawn",
        Decimal("36.00"),
        "A Falcon 9 between its lightning towers, with DSCOVR on top and a million miles to "
        "go. The sky is the deep blue that lasts for ten minutes.",
        "SpaceX (public domain)",
    ),
    Print(
        "skimage",
        "motorcycle_left.png",
        "Motorcycle, left eye",
        Decimal("26.00"),
        "One half of a stereo pair from a garage with everything in it. The other half is "
        "193 millimetres to the right.",
        "Nešić, Westling, Wang, Kitajima, Krathwohl, Scharstein (Middlebury 2014)",
    ),
    Print(
        "skimage",
        "moon.png",
        "Moon, waxing",
        Decimal("24.00"),
        "Low sun on old lava. All the greys between a five and a seven, and one crater bright "
        "enough to hang the rest on.",
        "Unknown",
    ),
    Print(
        "skimage",
        "camera.png",
        "The photographer",
        Decimal("24.00"),
        "A long coat, a tripod, a cold lawn. He has been waiting for the right moment longer "
        "than you have been looking.",
        "Lav Varshney (CC0)",
    ),
    Print(
        "skimage",
        "retina.jpg",
        "Left eye, from inside",
        Decimal("38.00"),
        "The back of a healthy eye: a pale disc where the nerve leaves, vessels like winter "
        "trees. Our largest print, and the warmest.",
        "Mikael Häggström (CC0)",
    ),
    Print(
        "skimage",
        "ihc.png",
        "Glands, stained",
        Decimal("30.00"),
        "Colonic glands in brown and blue, as the microscope saw them. Mistaken for a map of "
        "islands by most visitors.",
        "Center for Microscopy and Molecular Imaging",
    ),
    Print(
        "skimage",
        "coins.png",
        "Small change, Pompeii",
        Decimal("21.00"),
        "Twenty-four Greek coins in four rows, photographed on grey by the Brooklyn Museum. "
        "None of them is legal tender here.",
        "Brooklyn Museum",
    ),
    Print(
        "skimage",
        "brick.png",
        "Surface no. 1: brick",
        Decimal("18.00"),
        "First of three quiet greys. A paved yard that leans a little, so the eye walks up it.",
        "CC0Textures (CC0)",
    ),
    Print(
        "skimage",
        "grass.png",
        "Surface no. 2: grass",
        Decimal("18.00"),
        "Second of three. A square metre of lawn with clover, in no order whatever: the "
        "hardest picture in the shop to compress.",
        "linolafett (CC0)",
    ),
    Print(
        "skimage",
        "gravel.png",
        "Surface no. 3: gravel",
        Decimal("18.00"),
        "Third of three. Every stone has one bright side.",
        "CC0Textures (CC0)",
    ),
]
