// Which person a pixel shows; 0 is scenery.
uniform uint identity;
out uint pixel;
void main() { pixel = identity; }
