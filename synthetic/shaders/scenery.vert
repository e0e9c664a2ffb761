uniform mat4 view_projection;
in vec3 position;
in vec3 normal;
in vec3 uv;  // z: layer of the surfaces
in vec4 tint;
out vec3 world;
out vec3 facing;
out vec3 at;
out vec4 colour;

void main() {
    world = position;
    facing = normal;
    at = uv;
    colour = tint;
    gl_Position = view_projection * vec4(position, 1.0);
}
