uniform sampler2D atlas;
in vec3 world;
in vec3 facing;
in vec2 at;
in float height;
in vec4 colour;  // alpha above one half: an accessory of this colour
out vec4 pixel;

void main() {
    vec4 texel = texture(atlas, at, -0.7);
    if (colour.a > 0.5) texel = vec4(colour.rgb, 1.0);
    else if (texel.a < 0.35) discard;
    vec3 n = normalize(facing), to_eye = normalize(eye.xyz - world);
    if (dot(n, to_eye) < 0.0) n = -n;
    // Sky light reaches less between the legs and under the arms.
    float open = 0.5 + 0.5 * smoothstep(0.0, 0.9, height);
    vec3 c = lit(linear_of(texel.rgb), world, n, open);
    vec3 half_way = normalize(to_eye + sun_direction.xyz);
    c += sun_colour.rgb * 0.02 * pow(max(dot(n, half_way), 0.0), 24.0);
    pixel = vec4(developed(c), 1.0);
}
