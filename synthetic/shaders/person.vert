// Skinned people: each vertex follows up to four of 19 roles.
layout(std140) uniform Pose { vec4 rows[57]; };  // world from rest, three rows a role
uniform mat4 view_projection;
in vec3 position;
in vec3 normal;
in vec2 uv;
in uvec4 roles;
in vec4 weights;
in vec4 tint;
out vec3 world;
out vec3 facing;
out vec2 at;
out float height;
out vec4 colour;

void main() {
    vec4 x = vec4(0.0), y = vec4(0.0), z = vec4(0.0);
    for (int k = 0; k < 4; k++) {
        uint first = roles[k] * 3u;
        x += weights[k] * rows[first];
        y += weights[k] * rows[first + 1u];
        z += weights[k] * rows[first + 2u];
    }
    vec4 p = vec4(position, 1.0);
    world = vec3(dot(x, p), dot(y, p), dot(z, p));
    facing = vec3(dot(x.xyz, normal), dot(y.xyz, normal), dot(z.xyz, normal));
    at = uv;
    height = position.y;
    colour = tint;
    gl_Position = view_projection * vec4(world, 1.0);
}
