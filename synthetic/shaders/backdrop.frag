// The panorama, infinitely far.
uniform sampler2D panorama;
uniform mat4 from_screen;
uniform float turn;
in vec2 at;
out vec4 pixel;

void main() {
    vec4 far = from_screen * vec4(at, 1.0, 1.0);
    vec3 d = normalize(far.xyz / far.w - eye.xyz);
    vec2 where = vec2(atan(d.z, d.x) / 6.2831853 + turn, acos(clamp(d.y, -1.0, 1.0)) / 3.14159265);
    pixel = vec4(developed(linear_of(textureLod(panorama, where, 0.0).rgb) * 1.3), 1.0);
}
