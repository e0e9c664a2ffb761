uniform sampler2DArray surfaces;
in vec3 world;
in vec3 facing;
in vec3 at;
in vec4 colour;
out vec4 pixel;

void main() {
    vec4 texel = texture(surfaces, at, -0.5);
    if (texel.a < 0.4) discard;
    vec3 n = normalize(facing);
    if (dot(n, eye.xyz - world) < 0.0) n = -n;
    vec3 c = lit(linear_of(texel.rgb) * colour.rgb, world, n, 1.0);
    for (int i = 0; i < 12; i++) {
        vec2 away = (world.xz - feet[i].xy) / feet[i].z;
        c *= 1.0 - feet[i].w * exp(-dot(away, away) - 3.0 * world.y);
    }
    pixel = vec4(developed(c), 1.0);
}
