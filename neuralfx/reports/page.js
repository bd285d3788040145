"use strict";
// All voices of an excerpt play together, and only gains change: that is why switching leaves no gap.
(() => {
  const sounds = JSON.parse(document.getElementById("sounds").textContent);
  const FADE_S = 0.012;
  let context = null;
  let playing = null;

  class Player {
    constructor(article, sound) {
      this.article = article;
      this.sound = sound;
      this.nodes = [];
      this.position = 0;
      this.startedAt = 0;
      this.button = article.querySelector(".play");
      this.slider = article.querySelector("input[type=range]");
      this.time = article.querySelector("output");
      this.head = article.querySelector(".head");
      this.matched = article.querySelector(".matched");
      this.repeat = article.querySelector(".repeat");
      this.voices = [...article.querySelectorAll("input[type=radio]")];
      this.button.addEventListener("click", () => (this.isPlaying ? this.pause() : this.play()));
      this.slider.addEventListener("input", () => this.seek(Number(this.slider.value)));
      this.matched.addEventListener("change", () => this.setGains());
      this.repeat.addEventListener("change", () => this.restart());
      this.voices.forEach((voice) => voice.addEventListener("change", () => this.setGains()));
      const wave = article.querySelector(".wave");
      wave.addEventListener("click", (event) => {
        const box = wave.getBoundingClientRect();
        this.seek(((event.clientX - box.left) / box.width) * sound.duration);
      });
      article.addEventListener("keydown", (event) => this.onKey(event));
      this.setGains();
      this.show();
    }

    get isPlaying() { return playing === this; }

    get voice() { return this.voices.find((voice) => voice.checked); }

    onKey(event) {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      const index = Number(event.key) - 1;
      if (Number.isInteger(index) && this.voices[index]) {
        this.voices[index].checked = true;
        this.voices[index].focus();
        this.setGains();
      }
    }

    async load() {
      if (!context) context = new AudioContext();
      if (this.buffers) return;
      this.buffers = await Promise.all(this.sound.voices.map((voice) => {
        const text = atob(voice.audio);
        const bytes = new Uint8Array(text.length);
        for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
        return context.decodeAudioData(bytes.buffer);
      }));
      this.sound.voices.forEach((voice) => { voice.audio = ""; });
    }

    async play() {
      if (playing) playing.pause();
      playing = this;
      this.button.textContent = "Pause";
      try {
        await this.load();
        await context.resume();
      } catch (error) {
        this.pause();
        this.time.textContent = "This browser cannot play the sounds: " + error.message;
        return;
      }
      if (this.isPlaying) this.start();
    }

    start() {
      if (this.position >= this.sound.duration - 0.01) this.position = 0;
      const when = context.currentTime + 0.03;
      this.startedAt = when - this.position;
      this.nodes = this.buffers.map((buffer) => {
        const source = context.createBufferSource();
        const gain = context.createGain();
        source.buffer = buffer;
        source.loop = this.repeat.checked;
        gain.gain.value = 0;
        source.connect(gain).connect(context.destination);
        source.start(when, this.position);
        return { source, gain };
      });
      this.nodes[0].source.onended = () => { if (this.isPlaying && !this.stopping) { this.pause(); this.position = 0; this.show(); } };
      this.setGains();
      this.tick();
    }

    stop() {
      this.stopping = true;
      this.position = this.now();
      const end = context.currentTime + FADE_S;
      this.nodes.forEach(({ source, gain }) => {
        source.onended = null;
        gain.gain.setTargetAtTime(0, context.currentTime, FADE_S / 4);
        source.stop(end);
      });
      this.nodes = [];
      this.stopping = false;
    }

    pause() {
      if (this.nodes.length) this.stop();
      if (playing === this) playing = null;
      this.button.textContent = "Play";
      this.show();
    }

    restart() { if (this.nodes.length) { this.stop(); this.start(); } }

    seek(seconds) {
      if (this.nodes.length) this.stop();
      this.position = Math.min(Math.max(seconds, 0), this.sound.duration);
      if (this.isPlaying && this.buffers) this.start();
      this.show();
    }

    now() {
      if (!this.nodes.length) return this.position;
      const passed = Math.max(context.currentTime - this.startedAt, 0);
      return this.repeat.checked ? passed % this.sound.duration : Math.min(passed, this.sound.duration);
    }

    // An error is the target less an estimate, both as loud as they were recorded in relation to each other.
    setGains() {
      const chosen = this.voice.value;
      const level = (voice, reference) => {
        if (!this.matched.checked) return voice.recorded;
        return reference ? voice.recorded * (reference.matched / reference.recorded) : voice.matched;
      };
      const target = this.sound.voices.find((voice) => voice.name === "target");
      this.sound.voices.forEach((voice, index) => {
        let value = 0;
        if (chosen === "voice:" + voice.name) value = level(voice);
        if (chosen.startsWith("error:") && voice === target) value = level(voice, target);
        if (chosen === "error:" + voice.name) value = -level(voice, target);
        const node = this.nodes[index];
        if (node) node.gain.gain.setTargetAtTime(value, context.currentTime, FADE_S / 4);
      });
      const name = chosen.slice(6);
      const estimate = this.sound.estimates.includes(name) ? name : this.sound.estimates[0];
      this.article.querySelectorAll(".wave [data-voice]").forEach((path) => {
        path.dataset.shown = path.dataset.voice === name ? "yes" : "no";
      });
      this.article.querySelectorAll(".wave [data-error]").forEach((path) => {
        path.dataset.shown = path.dataset.error === estimate ? "yes" : "no";
      });
      const label = this.article.querySelector(".error-name");
      if (estimate) label.textContent = "error of " + estimate;
      this.article.querySelectorAll(".voice small").forEach((gain) => { gain.hidden = !this.matched.checked; });
    }

    show() {
      const position = this.now();
      this.slider.value = position;
      const text = position.toFixed(2) + " of " + this.sound.duration.toFixed(2) + " s";
      this.time.textContent = text;
      this.slider.setAttribute("aria-valuetext", text);
      this.head.style.left = (100 * position) / this.sound.duration + "%";
    }

    tick() {
      if (!this.nodes.length) return;
      this.show();
      requestAnimationFrame(() => this.tick());
    }
  }

  const players = sounds.map((sound, index) => new Player(document.getElementById("excerpt" + index), sound));
  document.querySelectorAll("button[data-excerpt]").forEach((button) => {
    button.addEventListener("click", () => {
      const player = players[Number(button.dataset.excerpt)];
      player.article.scrollIntoView({ block: "start" });
      player.button.focus({ preventScroll: true });
      player.seek(Math.max(Number(button.dataset.at), 0));
      if (!player.isPlaying) player.play();
    });
  });
})();
