"""Headless OpenGL: skinned people, scenery and panorama to RGB pictures (EGL; Mesa on a processor).

A view is drawn straight into the window of the picture that is wanted (a person's crop, or all of it), a
little larger than asked for, and shrunk by area against jagged edges: on a processor that costs half of what
four samples a pixel do. Skinning, lighting, shadows and dyeing run in the shaders.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic.assets import ATLAS_HEIGHT, ATLAS_WIDTH, Character
from synthetic.mesh import Mesh
from synthetic.motion import ROLES

SURFACE_SIZE = 512
MAX_PEOPLE_SHADING = 12
_PERSON_VERTEX = np.dtype(
    [
        ("position", "3f4"),
        ("normal", "3f4"),
        ("uv", "2f4"),
        ("roles", "4u1"),
        ("weights", "4u1"),
        ("tint", "4u1"),
    ]
)
_SCENERY_VERTEX = np.dtype([("position", "3f4"), ("normal", "3f4"), ("uv", "3f4"), ("tint", "4u1")])


@dataclass(frozen=True)
class Dye:
    """How one region of a character's clothes is coloured anew; colours are CIELab (3,).

    Attributes:
        source: Median colour of the region as it is.
        target: The new one.
        second: The pattern's other colour.
        pattern: Index into `synthetic.people.PATTERNS`.
        size: Of the pattern, metres.
        phase: In [0, 1).
        share: Of the second colour, in (0, 1).
    """

    source: NDArray[np.float32]
    target: NDArray[np.float32]
    second: NDArray[np.float32]
    pattern: int
    size: float
    phase: float
    share: float


@dataclass(frozen=True)
class Print:
    """A picture on a top: (H, W, 4) uint8 RGBA, centre and half size in rest-pose metres, chest or back."""

    picture: NDArray[np.uint8]
    centre: tuple[float, float]
    half_size: float
    back: bool


@dataclass(frozen=True)
class Wearing:
    """A mesh that moves with one role, in one colour (3,) uint8 RGB."""

    mesh: Mesh
    role: int
    colour: NDArray[np.uint8]


@dataclass(frozen=True)
class SceneryPart:
    """A mesh with the layer of its surface, its texture coordinates in tiles, and a tint (3,) uint8 RGB."""

    mesh: Mesh
    layer: int
    tint: NDArray[np.uint8]


@dataclass(frozen=True)
class Light:
    """Light of a place: sky irradiance / pi as 9 spherical harmonics (9, 3), and a sun; linear RGB.

    `sun_colour` is zero under clouds; `exposure` scales everything.
    """

    harmonics: NDArray[np.float32]
    sun_direction: NDArray[np.float32]
    sun_colour: NDArray[np.float32]
    exposure: float


@dataclass(frozen=True)
class View:
    """A window of a camera's picture.

    Attributes:
        matrix: (4, 4) world to the clip space of the window, y downward.
        eye: (3,) world position of the camera.
        width: Pixels.
        height: Pixels.
    """

    matrix: NDArray[np.float64]
    eye: NDArray[np.float64]
    width: int
    height: int


class PersonModel:
    """A dressed person on the GPU; `release` it when done."""

    def __init__(self, character: Character, atlas: Any, buffers: list[Any], arrays: dict[str, Any]) -> None:
        self.character = character
        self.atlas = atlas
        self.arrays = arrays
        self._buffers = buffers

    def release(self) -> None:
        """Free what it holds."""
        _release(*self.arrays.values(), *self._buffers, self.atlas)


class SceneryModel:
    """The things of a place on the GPU; `release` it when done."""

    def __init__(
        self, surfaces: Any, panorama: Any, turn: float, buffers: list[Any], arrays: dict[str, Any]
    ) -> None:
        self.surfaces = surfaces
        self.panorama = panorama
        self.turn = turn
        self.arrays = arrays
        self._buffers = buffers

    def release(self) -> None:
        """Free what it holds."""
        _release(*self.arrays.values(), *self._buffers, self.surfaces, self.panorama)


@dataclass(frozen=True)
class Figure:
    """A person in a view: the model and (19, 3, 4) float32 matrices from the rest pose to the world."""

    model: PersonModel
    pose: NDArray[np.float32]


class Renderer:
    """An OpenGL context and its programs; a context manager.

    Args:
        shadow_size: Side of the shadow map in texels.
        supersampling: Pixels drawn for each pixel wanted, along each side.

    Raises:
        RuntimeError: no OpenGL without a screen here; the message says what to install.
    """

    def __init__(self, shadow_size: int = 512, supersampling: float = 1.5) -> None:
        self._gl = _context()
        gl = self._gl
        self._supersampling = supersampling
        self._programs = {
            name: _program(gl, vertex, fragment)
            for name, (vertex, fragment) in {
                "person": ("person", "person"),
                "scenery": ("scenery", "scenery"),
                "backdrop": ("backdrop", "backdrop"),
                "person_shadow": ("person", "shadow"),
                "scenery_shadow": ("scenery", "shadow"),
                "person_identity": ("person", "identity"),
                "scenery_identity": ("scenery", "identity"),
                "dye": ("dye", "dye"),
            }.items()
        }
        self._pose = gl.buffer(reserve=57 * 16)
        self._light = gl.buffer(reserve=(9 + 2 + 4 + 1 + MAX_PEOPLE_SHADING) * 16)
        self._dyes = gl.buffer(reserve=(6 * 4 + 1) * 16)
        for slot, buffer in enumerate((self._pose, self._light, self._dyes)):
            buffer.bind_to_uniform_block(slot)
        self._shadow_map = gl.depth_texture((shadow_size, shadow_size))
        self._shadow_map.compare_func = "<="
        self._shadow_frame = gl.framebuffer(depth_attachment=self._shadow_map)
        corners = gl.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], "f4").tobytes())
        self._screen = gl.vertex_array(self._programs["backdrop"], [(corners, "2f", "corner")])
        unit = np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 1, 0], "f4")
        self._rectangle = gl.vertex_array(
            self._programs["dye"], [(gl.buffer(unit.tobytes()), "3f", "position")]
        )
        self._frames: dict[tuple[int, int], Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gl.release()

    @property
    def device(self) -> str:
        """What draws, as OpenGL names it."""
        return str(self._gl.info["GL_RENDERER"])

    def dress(
        self,
        character: Character,
        dyes: dict[int, Dye],
        picture: Print | None,
        wearing: Sequence[Wearing],
    ) -> PersonModel:
        """Dye a character's clothes (region index -> dye) and put things on."""
        _make_current(self._gl)
        vertices, indices = _person_vertices(character, wearing)
        buffer = self._gl.buffer(vertices.tobytes())
        index = self._gl.buffer(indices.tobytes())
        layout = "3f 3f 2f 4u1 4f1 4f1"
        names = ("position", "normal", "uv", "roles", "weights", "tint")
        arrays = {
            purpose: self._gl.vertex_array(
                self._programs[purpose], [_used(self._programs[purpose], buffer, layout, names)], index
            )
            for purpose in ("person", "person_shadow", "person_identity")
        }
        atlas = self._dyed(character, dyes, picture, buffer, index)
        return PersonModel(character, atlas, [buffer, index], arrays)

    def _dyed(
        self, character: Character, dyes: dict[int, Dye], picture: Print | None, buffer: Any, index: Any
    ) -> Any:
        size = (ATLAS_WIDTH, ATLAS_HEIGHT)
        original = self._gl.texture(size, 4, character.atlas.tobytes())
        regions = self._gl.texture(size, 1, character.regions.tobytes())
        regions.filter = (self._gl.NEAREST, self._gl.NEAREST)
        ink = np.zeros((1, 1, 4), np.uint8) if picture is None else picture.picture
        on_top = self._gl.texture(ink.shape[1::-1], 4, np.ascontiguousarray(ink).tobytes())
        dyed = self._gl.texture(size, 4)
        frame = self._gl.framebuffer([dyed])
        self._dyes.write(_dye_block(character, dyes, picture))
        program = self._programs["dye"]
        for slot, (name, texture) in enumerate(
            (("original", original), ("regions", regions), ("picture", on_top))
        ):
            texture.use(slot)
            program[name] = slot
        frame.use()
        self._gl.disable(self._gl.DEPTH_TEST)
        program["unfolded"] = False
        self._rectangle.render(self._gl.TRIANGLE_STRIP)
        unfolded = self._gl.vertex_array(
            program,
            [(buffer, "3f 3f 2f 12x", "position", "normal", "uv")],
            index,
        )
        program["unfolded"] = True
        unfolded.render(vertices=character.indices.size)
        dyed.build_mipmaps()
        dyed.filter = (self._gl.LINEAR_MIPMAP_LINEAR, self._gl.LINEAR)
        for thing in (unfolded, frame, original, regions, on_top):
            thing.release()
        return dyed

    def build_scenery(
        self,
        parts: Sequence[SceneryPart],
        surfaces: NDArray[np.uint8],
        panorama: NDArray[np.uint8],
        turn: float,
    ) -> SceneryModel:
        """Upload a place.

        Args:
            parts: Its things.
            surfaces: (layers, 512, 512, 4) uint8 RGBA, tiles.
            panorama: (H, W, 3) uint8 RGB.
            turn: Of the panorama, in turns.
        """
        _make_current(self._gl)
        vertices, indices = _scenery_vertices(parts)
        buffer = self._gl.buffer(vertices.tobytes())
        index = self._gl.buffer(indices.tobytes())
        names = ("position", "normal", "uv", "tint")
        arrays = {
            purpose: self._gl.vertex_array(
                self._programs[purpose],
                [_used(self._programs[purpose], buffer, "3f 3f 3f 4f1", names)],
                index,
            )
            for purpose in ("scenery", "scenery_shadow", "scenery_identity")
        }
        shape = (SURFACE_SIZE, SURFACE_SIZE, len(surfaces))
        layers = self._gl.texture_array(shape, 4, np.ascontiguousarray(surfaces).tobytes())
        layers.build_mipmaps()
        layers.filter = (self._gl.LINEAR_MIPMAP_LINEAR, self._gl.LINEAR)
        height, width = panorama.shape[:2]
        far = self._gl.texture((width, height), 3, np.ascontiguousarray(panorama).tobytes(), alignment=1)
        far.repeat_y = False
        return SceneryModel(layers, far, turn, [buffer, index], arrays)

    def cast_shadows(
        self,
        light: Light,
        scenery: SceneryModel,
        figures: Sequence[Figure],
        centre: NDArray[np.float64],
        reach: float,
    ) -> NDArray[np.float64]:
        """Draw the shadow map around a point, `reach` metres to each side; gives the sun's matrix."""
        matrix = _sun_matrix(light.sun_direction, centre, reach)
        if not light.sun_colour.any():
            return matrix
        _make_current(self._gl)
        self._gl.enable(self._gl.DEPTH_TEST)
        self._shadow_frame.use()
        self._shadow_frame.clear(depth=1.0)
        for name in ("person_shadow", "scenery_shadow"):
            self._programs[name]["view_projection"].write(_columns(matrix))
        scenery.arrays["scenery_shadow"].render()
        self._draw_people("person_shadow", figures)
        return matrix

    def draw(
        self,
        view: View,
        light: Light,
        scenery: SceneryModel,
        figures: Sequence[Figure],
        sun_matrix: NDArray[np.float64],
    ) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 RGB."""
        _make_current(self._gl)
        width, height = (round(side * self._supersampling) for side in (view.width, view.height))
        frame = self._frame(width, height)
        frame.use()
        frame.viewport = (0, 0, width, height)
        self._gl.enable(self._gl.DEPTH_TEST)
        frame.clear()
        self._light.write(_light_block(light, view, sun_matrix, figures))
        self._shadow_map.use(0)
        for name in ("person", "scenery", "backdrop"):
            program = self._programs[name]
            if "shadow_map" in program:
                program["shadow_map"] = 0
            if "view_projection" in program:
                program["view_projection"].write(_columns(view.matrix))
        people = self._programs["person"]
        people["atlas"] = 1
        for figure in figures:
            figure.model.atlas.use(1)
            self._pose.write(figure.pose.tobytes())
            figure.model.arrays["person"].render()
        scenery.surfaces.use(1)
        self._programs["scenery"]["surfaces"] = 1
        scenery.arrays["scenery"].render()
        scenery.panorama.use(1)
        backdrop = self._programs["backdrop"]
        backdrop["panorama"], backdrop["turn"] = 1, scenery.turn
        backdrop["from_screen"].write(_columns(np.asarray(np.linalg.inv(view.matrix), np.float64)))
        self._screen.render(self._gl.TRIANGLE_STRIP)
        raw = frame.read((0, 0, width, height), components=3, alignment=1)
        drawn = np.frombuffer(raw, np.uint8).reshape(height, width, 3)
        return np.asarray(
            cv2.resize(drawn, (view.width, view.height), interpolation=cv2.INTER_AREA), np.uint8
        )

    def identify(
        self, view: View, scenery: SceneryModel | None, figures: Sequence[Figure]
    ) -> NDArray[np.uint8]:
        """(height, width) uint8: 1 + the index of the figure that each pixel shows, 0 for the rest."""
        _make_current(self._gl)
        target = self._gl.texture((view.width, view.height), 1, dtype="u1", alignment=1)
        depth = self._gl.depth_renderbuffer((view.width, view.height))
        frame = self._gl.framebuffer([target], depth)
        frame.use()
        self._gl.enable(self._gl.DEPTH_TEST)
        frame.clear()
        for name in ("person_identity", "scenery_identity"):
            self._programs[name]["view_projection"].write(_columns(view.matrix))
        self._programs["scenery_identity"]["identity"] = 0
        if scenery is not None:
            scenery.arrays["scenery_identity"].render()
        for number, figure in enumerate(figures):
            self._programs["person_identity"]["identity"] = number + 1
            self._draw_people("person_identity", [figure])
        found = np.frombuffer(target.read(alignment=1), np.uint8).reshape(view.height, view.width)
        for thing in (frame, target, depth):
            thing.release()
        return found

    def _draw_people(self, purpose: str, figures: Sequence[Figure]) -> None:
        for figure in figures:
            self._pose.write(figure.pose.tobytes())
            figure.model.arrays[purpose].render()

    def _frame(self, width: int, height: int) -> Any:
        """A framebuffer at least that large; made once a size."""
        key = (-(-width // 32) * 32, -(-height // 32) * 32)
        if key not in self._frames:
            self._frames[key] = self._gl.framebuffer(
                [self._gl.renderbuffer(key, 4)], self._gl.depth_renderbuffer(key)
            )
        return self._frames[key]


def _context() -> Any:
    try:
        import moderngl
    except ImportError as error:
        raise RuntimeError("rendering needs moderngl: pip install 'retrace-reid[synthetic]'") from error
    try:
        make: Any = moderngl.create_context
        context = make(standalone=True, backend="egl", require=330)
    except Exception as error:  # glcontext raises nothing finer
        raise RuntimeError(
            f"no OpenGL without a screen here ({error}): install EGL, on Debian libegl1 and libgl1-mesa-dri"
        ) from error
    return context


def _make_current(gl: Any) -> None:
    """OpenGL draws with one context at a time, and another renderer may have drawn since."""
    gl.__enter__()


def _release(*things: Any) -> None:
    _make_current(things[0].ctx)
    for thing in things:
        thing.release()


def _program(gl: Any, vertex: str, fragment: str) -> Any:
    folder = resources.files("synthetic") / "shaders"

    def source(name: str) -> str:
        text = (folder / name).read_text()
        lighting = (folder / "lighting.glsl").read_text() if "lit(" in text or "developed(" in text else ""
        return f"#version 330\n{lighting}{text}"

    program = gl.program(vertex_shader=source(f"{vertex}.vert"), fragment_shader=source(f"{fragment}.frag"))
    for slot, block in enumerate(("Pose", "Light", "Dyes")):
        if block in program:
            program[block].binding = slot
    return program


def _used(program: Any, buffer: Any, layout: str, names: tuple[str, ...]) -> tuple[Any, ...]:
    """A buffer's description for a program that may not read all of it."""
    sizes = {"3f": 12, "2f": 8, "4u1": 4, "4f1": 4}
    fields = [
        (kind if name in program else f"{sizes[kind]}x", name)
        for kind, name in zip(layout.split(), names, strict=True)
    ]
    return (buffer, " ".join(kind for kind, _ in fields), *(name for kind, name in fields if "x" not in kind))


def _person_vertices(
    character: Character, wearing: Sequence[Wearing]
) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    own = len(character.positions)
    vertices = np.zeros(own + sum(len(thing.mesh.positions) for thing in wearing), _PERSON_VERTEX)
    body = vertices[:own]
    body["position"], body["normal"], body["uv"] = character.positions, character.normals, character.uv
    body["roles"], body["weights"] = character.roles, character.weights
    indices, start = [character.indices], own
    for thing in wearing:
        part = vertices[start : start + len(thing.mesh.positions)]
        part["position"], part["normal"] = thing.mesh.positions, thing.mesh.normals
        part["roles"][:, 0], part["weights"][:, 0] = thing.role, 255
        part["tint"][:, :3], part["tint"][:, 3] = thing.colour, 255
        indices.append(thing.mesh.indices + np.uint32(start))
        start += len(part)
    return vertices, np.concatenate(indices).astype(np.uint32)


def _scenery_vertices(parts: Sequence[SceneryPart]) -> tuple[NDArray[Any], NDArray[np.uint32]]:
    vertices = np.zeros(sum(len(part.mesh.positions) for part in parts), _SCENERY_VERTEX)
    indices, start = [], 0
    for part in parts:
        rows = vertices[start : start + len(part.mesh.positions)]
        rows["position"], rows["normal"] = part.mesh.positions, part.mesh.normals
        rows["uv"][:, :2], rows["uv"][:, 2] = part.mesh.uv, part.layer
        rows["tint"][:, :3], rows["tint"][:, 3] = part.tint, 255
        indices.append(part.mesh.indices + np.uint32(start))
        start += len(rows)
    return vertices, np.concatenate(indices).astype(np.uint32)


def _dye_block(character: Character, dyes: dict[int, Dye], picture: Print | None) -> bytes:
    block = np.zeros((25, 4), np.float32)
    shoulders = character.joints[ROLES.index("left_upper_arm")]
    chest = float(character.joints[ROLES.index("chest"), 1])
    for region, dye in dyes.items():
        rows = block[4 * region : 4 * region + 4]
        rows[0] = [*dye.source, 1]
        rows[1] = [*dye.target, dye.pattern]
        rows[2] = [*dye.second, dye.size]
        rows[3] = [dye.phase, dye.share, chest, abs(float(shoulders[0]))]
    if picture is not None:
        block[24] = [*picture.centre, picture.half_size, -1 if picture.back else 1]
    return block.tobytes()


def _light_block(
    light: Light, view: View, sun_matrix: NDArray[np.float64], figures: Sequence[Figure]
) -> bytes:
    block = np.zeros((16 + MAX_PEOPLE_SHADING, 4), np.float32)
    block[:9, :3] = light.harmonics
    block[9, :3], block[10, :3] = light.sun_direction, light.sun_colour
    block[11:15] = sun_matrix.T
    block[15] = [*view.eye, light.exposure]
    block[16:, 2] = 1
    spots = block[16:]
    feet = [ROLES.index("left_foot"), ROLES.index("right_foot")]
    for number, figure in enumerate(figures[: MAX_PEOPLE_SHADING // 2]):
        rest = figure.model.character.joints[feet]
        places = np.einsum("fij,fj->fi", figure.pose[feet, :, :3], rest) + figure.pose[feet, :, 3]
        spots[2 * number : 2 * number + 2, :2] = places[:, [0, 2]]
        spots[2 * number : 2 * number + 2, 2] = 0.22
        spots[2 * number : 2 * number + 2, 3] = np.clip(0.7 - 2.5 * (places[:, 1] - 0.1), 0, 0.7)
    return block.tobytes()


def _sun_matrix(
    direction: NDArray[np.float32], centre: NDArray[np.float64], reach: float
) -> NDArray[np.float64]:
    """World to the shadow map: orthographic, 60 m deep."""
    z = direction / np.linalg.norm(direction)
    x = np.cross([0.0, 1.0, 0.001], z)
    x /= np.linalg.norm(x)
    turn = np.stack([x, np.cross(z, x), z])
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array([1 / reach, 1 / reach, -1 / 30])[:, None]
    matrix[:3, 3] = -matrix[:3, :3] @ centre
    return matrix


def _columns(matrix: NDArray[np.float64]) -> bytes:
    return np.ascontiguousarray(matrix.T, np.float32).tobytes()
