// The video's frames, decoded when they are wanted and some ahead.

const KEPT = 96, AHEAD = 12;

class Pictures {
  constructor(pictures, arrived) {
    this.arrived = arrived;
    this.decoded = new Map();
    this.waiting = new Set();
    this.bytes = pictures.bytes;
    this.ends = new Uint32Array(pictures.sizes.length);
    pictures.sizes.reduce((sum, size, i) => (this.ends[i] = sum + size), 0);
    this.sizes = pictures.sizes;
  }

  has(frame) {
    return this.sizes[frame] > 0;
  }

  // The picture of a frame; null until it has arrived, or if there is none.
  at(frame) {
    for (let i = frame + AHEAD; i >= frame; i--) this.#want(i);
    const picture = this.decoded.get(frame);
    if (!picture) return null;
    this.decoded.delete(frame);
    this.decoded.set(frame, picture);
    return picture;
  }

  #want(frame) {
    if (!(this.sizes[frame] > 0) || this.decoded.has(frame) || this.waiting.has(frame)) return;
    this.waiting.add(frame);
    const bytes = this.bytes.subarray(this.ends[frame] - this.sizes[frame], this.ends[frame]);
    createImageBitmap(new Blob([bytes], { type: "image/webp" })).then((picture) => {
      this.waiting.delete(frame);
      this.decoded.set(frame, picture);
      for (const [old, kept] of this.decoded) {
        if (this.decoded.size <= KEPT) break;
        this.decoded.delete(old);
        kept.close();
      }
      this.arrived(frame);
    });
  }
}
