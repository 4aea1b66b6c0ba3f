// Audio worklet: converts to mono samples of the target rate, in 16-bit chunks of a quarter of a second.
// At the target rate samples are unchanged; otherwise each is the mean over its span.

class Pieces extends AudioWorkletProcessor {
  constructor({ processorOptions: { rate } }) {
    super();
    this.step = sampleRate / rate;  // `sampleRate` is the worklet's own
    this.piece = new Int16Array(rate / 4);
    this.filled = 0;
    this.sum = this.weight = 0;
  }

  process([input]) {
    if (!input.length) return true;
    for (let number = 0; number < input[0].length; number += 1) {
      let value = 0;
      for (const channel of input) value += channel[number] / input.length;
      this.take(value);
    }
    return true;
  }

  take(value) {
    let left = 1;
    while (this.weight + left >= this.step) {
      const part = this.step - this.weight;
      this.give((this.sum + part * value) / this.step);
      left -= part;
      this.sum = this.weight = 0;
    }
    this.sum += left * value;
    this.weight += left;
  }

  give(value) {
    this.piece[this.filled] = Math.round(32767 * Math.max(-1, Math.min(1, value)));
    this.filled += 1;
    if (this.filled < this.piece.length) return;
    const whole = this.piece.slice().buffer;
    this.port.postMessage(whole, [whole]);
    this.filled = 0;
  }
}

registerProcessor("pieces", Pieces);
