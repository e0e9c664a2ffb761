// Clothes in other colours and patterns. Shading of folds and seams is kept in CIELab: lightness in part,
// colour differences a little. Patterns live in rest-pose space, so they run over seams.
uniform sampler2D original;
uniform sampler2D regions;
uniform sampler2D picture;     // a print, on the chest or the back
struct Dye {
    vec4 from;     // L a b of the region's median; w: 1 to dye it
    vec4 to;       // L a b; w: pattern
    vec4 second;   // L a b of the pattern's other colour; w: its size in metres
    vec4 shape;    // phase, share of the second colour, chest height, half width of the chest
};
layout(std140) uniform Dyes { Dye dyes[6]; vec4 print_box; };  // print_box: centre x, y, half size; w: +1 chest, -1 back, 0 none
in vec3 rest;
in vec3 facing;
in vec2 at;
out vec4 pixel;

float f(float t) { return t > 0.008856 ? pow(t, 1.0 / 3.0) : 7.787 * t + 0.137931; }
float g(float t) { return t > 0.206893 ? t * t * t : (t - 0.137931) / 7.787; }
vec3 linear_of(vec3 c) { return mix(c / 12.92, pow((c + 0.055) / 1.055, vec3(2.4)), step(0.04045, c)); }
vec3 srgb_of(vec3 c) {
    c = clamp(c, 0.0, 1.0);
    return mix(12.92 * c, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c));
}
vec3 lab_of(vec3 c) {
    vec3 l = linear_of(c);
    float x = f(dot(l, vec3(0.4339, 0.3763, 0.1899))), y = f(dot(l, vec3(0.2126, 0.7152, 0.0722)));
    float z = f(dot(l, vec3(0.0178, 0.1095, 0.8729)));
    return vec3(116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z));
}
vec3 rgb_of(vec3 lab) {
    float y = (lab.x + 16.0) / 116.0;
    vec3 xyz = vec3(0.9505, 1.0, 1.089) * vec3(g(y + lab.y / 500.0), g(y), g(y - lab.z / 200.0));
    return srgb_of(vec3(dot(xyz, vec3(3.2406, -1.5372, -0.4986)), dot(xyz, vec3(-0.9689, 1.8758, 0.0415)),
        dot(xyz, vec3(0.0557, -0.2040, 1.0570))));
}
float random(vec3 p) { return fract(sin(dot(p, vec3(12.9898, 78.233, 37.719))) * 43758.5453); }
float noise(vec3 p) {
    vec3 i = floor(p), t = p - i;
    t = t * t * (3.0 - 2.0 * t);
    vec4 low = vec4(random(i), random(i + vec3(1, 0, 0)), random(i + vec3(0, 1, 0)), random(i + vec3(1, 1, 0)));
    i.z += 1.0;
    vec4 high = vec4(random(i), random(i + vec3(1, 0, 0)), random(i + vec3(0, 1, 0)), random(i + vec3(1, 1, 0)));
    vec4 mixed = mix(low, high, t.z);
    return mix(mix(mixed.x, mixed.y, t.x), mix(mixed.z, mixed.w, t.x), t.y);
}

bool in_second(Dye dye) {
    int pattern = int(dye.to.w + 0.5);
    vec3 p = rest / dye.second.w + dye.shape.x;
    float share = dye.shape.y, side = abs(rest.x) / dye.shape.w;
    if (pattern == 1) return fract(p.y) < share;                                          // rings
    if (pattern == 2) return fract(p.x) < share;                                          // stripes
    if (pattern == 3) return (fract(p.x) < share) != (fract(p.y) < share);                // checks
    if (pattern == 4) return fract(p.x) < 0.25 * share || fract(p.y) < 0.25 * share;      // grid
    if (pattern == 5) return length(fract(p.xy) - 0.5) < 0.5 * share;                     // dots
    if (pattern == 6) return noise(p * 1.6) > 1.0 - share;                                // camouflage, batik
    if (pattern == 7) return rest.y < dye.shape.z - dye.second.w * 0.4;                   // lower half
    if (pattern == 8) return abs(rest.y - dye.shape.z) < dye.second.w * 0.35;             // band
    if (pattern == 9) return side > 1.0;                                                  // sleeves
    if (pattern == 10) return facing.z > 0.2 && side < 0.12 + 0.5 * share;                // open at the front
    if (pattern == 11) return abs(facing.x) > 0.93;                                       // seams at the sides
    if (pattern == 12) return fract(p.x + p.y) < share;                                   // diagonal
    if (pattern == 13) return rest.y > dye.shape.z + 0.04;                                // yoke
    return false;
}

void main() {
    vec4 texel = texture(original, at);
    Dye dye = dyes[int(texture(regions, at).r * 255.0 + 0.5)];
    vec3 colour = texel.rgb;
    if (dye.from.w > 0.5) {
        vec3 target = in_second(dye) ? dye.second.rgb : dye.to.rgb;
        vec3 away = lab_of(colour) - dye.from.rgb;
        float lightness = target.x + away.x * 0.85 * (0.6 + 0.4 * target.x / 60.0);
        colour = rgb_of(vec3(clamp(lightness, 2.0, 98.0), target.yz + 0.3 * away.yz));
    }
    vec2 on_print = (rest.xy - print_box.xy) / print_box.z * 0.5 + 0.5;
    bool top = int(texture(regions, at).r * 255.0 + 0.5) == 1;
    if (top && facing.z * print_box.w > 0.25 && all(greaterThan(on_print, vec2(0.0))) && all(lessThan(on_print, vec2(1.0)))) {
        vec4 ink = texture(picture, vec2(print_box.w > 0.0 ? on_print.x : 1.0 - on_print.x, 1.0 - on_print.y));
        colour = mix(colour, ink.rgb * clamp(dot(texel.rgb, vec3(0.33)) * 0.6 + 0.7, 0.0, 1.0), ink.a);
    }
    pixel = vec4(colour, texel.a);
}
