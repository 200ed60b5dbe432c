"""What goes along with a film's picture: all sound and all text, copied where MP4 holds it, else encoded again."""

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Final

from service.archive.film_file import decode

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet as _Packet
    from av.stream import Stream

    Packet = _Packet[Any]

AAC_RATE: Final = 48000
"""Samples a second of sound that is encoded again."""

AAC_LAYOUTS: Final = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""Speakers of sound that is encoded again, by its channels; what has another number becomes stereo."""

TEXT_CODEC: Final = "mov_text"
"""The one kind of text that MP4 players show."""

LAYOUTS: Final = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
"""Speakers of copied samples where AVI or MKV gives their number only: MP4 wants to know, and says so at its end."""

PCM: Final = re.compile(r"pcm_[sf](\d+)[lb]e")
"""Names of codecs that are samples and nothing else, with the bits of one. MP4 counts them and knows no gaps."""

GAP_S: Final = Fraction(1, 10)
"""A longer gap between samples is filled with silence, seconds; shorter ones are how times were rounded."""

KINDS: Final = {"video": "further pictures", "data": "data tracks", "attachment": "attachments"}
"""What is left out, in words, by FFmpeg's kind of stream."""


class Tracks:
    """Copies sound and text into the answer.

    Attributes:
        sources: the streams whose packets are wanted.
        notes: what is not as it was, for people.
    """

    def __init__(self, answer: "OutputContainer", source: "InputContainer", picture: "Stream") -> None:
        """Make a track for each that there is, before anything is written.

        Args:
            answer: the open MP4.
            source: the film.
            picture: the stream of it that is colored.
        """
        self.notes: list[str] = []
        self._answer = answer
        self._copied: dict[int, Any] = {}
        self._sound: dict[int, Any] = {}
        self._text: dict[int, Any] = {}
        self._end_s: dict[int, Fraction] = {}
        left_out: set[str] = set()
        for stream in source.streams:
            if stream.type == "audio":
                self._add_sound(stream)
            elif stream.type == "subtitle":
                self._add_text(stream)
            elif stream is not picture and not _is_chapters(source, stream):
                left_out.add(KINDS.get(stream.type, stream.type))
        made = self._copied | self._sound | self._text
        self.sources = [stream for stream in source.streams if stream.index in made]
        for stream in self.sources:
            track = made[stream.index]
            track.metadata.update(
                {key: stream.metadata[key] for key in ("language", "title") if key in stream.metadata}
            )
            track.disposition = stream.disposition
        if left_out:
            self.notes.append(f"left out: {', '.join(sorted(left_out))}")

    def write(self, packet: "Packet") -> None:
        """Write a packet of one of the sources."""
        index = packet.stream.index
        if index in self._copied:
            if packet.dts is not None:
                for each in (*self._silence_before(packet), packet):
                    each.stream = self._copied[index]
                    self._answer.mux(each)
        elif index in self._sound:
            encoder = self._sound[index]
            for samples in decode(packet) or []:
                self._answer.mux(encoder.encode(samples))
        elif index in self._text and packet.size:
            self._write_text(packet, self._text[index])

    def finish(self) -> None:
        """Write what the encoders still hold."""
        for encoder in self._sound.values():
            self._answer.mux(encoder.encode(None))

    def _silence_before(self, packet: "Packet") -> "Iterator[Packet]":
        """Yield silence, a second a packet at most, that fills the gap between the samples before and these."""
        import av

        context: Any = packet.stream.codec_context
        found = PCM.fullmatch(context.name) if context is not None else None
        if found is None or packet.pts is None:
            return
        rate, block = context.sample_rate, context.layout.nb_channels * int(found[1]) // 8
        at_s = packet.pts * packet.time_base
        end_s = self._end_s.get(packet.stream.index, at_s)
        missing = round((at_s - end_s) * rate) if at_s - end_s > GAP_S else 0
        for first in range(0, missing, rate):
            count = min(rate, missing - first)
            silence: Packet = av.Packet(bytes(count * block))
            silence.time_base, silence.duration = Fraction(1, rate), count
            silence.pts = silence.dts = round(end_s * rate) + first
            yield silence
        self._end_s[packet.stream.index] = at_s + Fraction(packet.size // block, rate)

    def _write_text(self, packet: "Packet", track: Any) -> None:
        import av

        stream: Any = packet.stream
        try:
            lines = stream.codec_context.decode2(packet)
            written = None if lines is None else track.codec_context.encode_subtitle(lines)
        except av.FFmpegError:  # In no known encoding, say.
            return
        if written is not None:
            written.stream, written.time_base = track, packet.time_base
            written.pts = written.dts = packet.pts
            written.duration = packet.duration
            self._answer.mux(written)

    def _add_sound(self, source: "Stream") -> None:
        context: Any = source.codec_context  # None where FFmpeg has no decoder for it.
        name = context.name if context is not None else "of an unknown kind"
        speakers = context.layout.nb_channels if context is not None and PCM.fullmatch(name) else 0
        try:
            if speakers > max(LAYOUTS):
                raise ValueError("MP4 has no name for so many speakers")
            track: Any = self._answer.add_stream_from_template(source)
            if speakers and context.layout.name == f"{speakers} channels":
                track.codec_context.layout = LAYOUTS[speakers]
            self._copied[source.index] = track
        except ValueError:  # MP4 does not hold that codec.
            try:
                encoder: Any = self._answer.add_stream("aac", rate=AAC_RATE)
                encoder.layout = AAC_LAYOUTS.get(context.layout.nb_channels, "stereo")
            except (ValueError, AttributeError):
                self.notes.append(f"left out: sound, {name}")
            else:
                self._sound[source.index] = encoder
                self.notes.append(f"sound encoded again: MP4 does not hold {name}, so it is AAC now")

    def _add_text(self, source: "Stream") -> None:
        context: Any = source.codec_context
        if context is None or not context.codec.text_sub:
            self.notes.append(f"left out: subtitles, {context.name if context is not None else 'of an unknown kind'}")
        elif context.name == TEXT_CODEC:
            self._copied[source.index] = self._answer.add_stream_from_template(source)
        else:
            context.open(strict=False)  # Only an open decoder knows the header that the encoder wants.
            track: Any = self._answer.add_stream(TEXT_CODEC)
            track.time_base = source.time_base
            track.codec_context.subtitle_header = context.subtitle_header
            self._text[source.index] = track
            self.notes.append(
                f"subtitles encoded again: MP4 does not hold {context.name}, so they are {TEXT_CODEC} now"
            )


def _is_chapters(source: "InputContainer", stream: "Stream") -> bool:
    """Return whether a data track is but the titles of the chapters, which go over as such."""
    context: Any = stream.codec_context
    return stream.type == "data" and context is None and bool(source.chapters())
