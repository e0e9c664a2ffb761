// Light of a place: sky and bounce as spherical harmonics, one sun with a shadow map, and the darkness at
// people's feet. Colours are linear; `developed` ends in sRGB.
layout(std140) uniform Light {
    vec4 harmonics[9];   // irradiance / pi of the surroundings
    vec4 sun_direction;  // towards the sun
    vec4 sun_colour;     // 0 under a cloudy sky
    mat4 sun_view;       // world to shadow map
    vec4 eye;            // of the camera; w: exposure
    vec4 feet[12];       // x, z, radius, strength of the dark spot under a person
};
uniform sampler2DShadow shadow_map;

vec3 sky(vec3 n) {
    return max(vec3(0.02), harmonics[0].rgb + harmonics[1].rgb * n.y + harmonics[2].rgb * n.z
        + harmonics[3].rgb * n.x + harmonics[4].rgb * n.x * n.y + harmonics[5].rgb * n.y * n.z
        + harmonics[6].rgb * (3.0 * n.z * n.z - 1.0) + harmonics[7].rgb * n.x * n.z
        + harmonics[8].rgb * (n.x * n.x - n.y * n.y));
}

float sunlit(vec3 world, vec3 n) {
    if (sun_colour.r <= 0.0) return 0.0;
    vec3 at = (sun_view * vec4(world + n * 0.015, 1.0)).xyz * 0.5 + 0.5;
    if (any(lessThan(at, vec3(0.0))) || any(greaterThan(at, vec3(1.0)))) return 1.0;
    at.z -= 0.0015;
    vec2 texel = 0.7 / vec2(textureSize(shadow_map, 0));
    return 0.5 * (texture(shadow_map, at + vec3(texel, 0.0)) + texture(shadow_map, at - vec3(texel, 0.0)));
}

vec3 lit(vec3 albedo, vec3 world, vec3 n, float open) {
    float facing = max(dot(n, sun_direction.xyz), 0.0);
    float direct = facing > 0.0 ? facing * sunlit(world, n) : 0.0;
    return albedo * (sky(n) * open + sun_colour.rgb * direct);
}

vec3 developed(vec3 linear) {
    vec3 c = linear * eye.w;
    c = clamp(c * (1.0 + c * 0.12) / (1.0 + c * 0.5), 0.0, 1.0);
    return mix(12.92 * c, 1.055 * pow(c, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, c));
}

vec3 linear_of(vec3 srgb) { return srgb * (srgb * (srgb * 0.305306011 + 0.682171111) + 0.012522878); }
