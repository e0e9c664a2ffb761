// A character unfolded over its own atlas; as a plain rectangle first, for the texels between its patches.
uniform bool unfolded;
in vec3 position;
in vec3 normal;
in vec2 uv;
out vec3 rest;
out vec3 facing;
out vec2 at;
void main() {
    at = unfolded ? uv : position.xy;
    rest = unfolded ? position : vec3(0.0, 1.2, -1.0);
    facing = unfolded ? normal : vec3(0.0, 0.0, -1.0);
    gl_Position = vec4(at * 2.0 - 1.0, 0.0, 1.0);
}
