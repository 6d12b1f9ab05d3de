//! Whether the scans of a JPEG hold exactly the blocks that its header promises.
//!
//! A JPEG has no checksum, and a decoder fills what it cannot decode with grey, or goes on with
//! shifted blocks, and reports success. Bytes that were changed in mid-scan nearly always give a
//! code that no table has, or too few or too many blocks before the scan ends (ITU-T T.81, annexes
//! F and G). So the codes are walked here, without decoding a pixel.
//!
//! Lossless and arithmetic-coded files are left to the decoder.

/// Encoders write ten or so. Each may walk the whole picture in a few bytes.
const SCANS_MAX: usize = 500;

/// Found by walking the codes: the picture is not the one that was saved.
#[derive(Debug, PartialEq, Eq)]
struct Damaged;

type Walk<T> = Result<T, Damaged>;

/// Whether a JPEG, which begins with the start-of-image marker, holds all of its picture, as it was
/// saved.
pub fn is_whole_jpeg(bytes: &[u8]) -> bool {
    check(bytes).is_ok()
}

fn check(bytes: &[u8]) -> Walk<()> {
    let mut tables = Tables::default();
    let mut frame: Option<Frame> = None;
    let mut scans = 0;
    let mut rest = bytes.get(2..).ok_or(Damaged)?;
    loop {
        let marker_at = rest.windows(2).position(|pair| pair[0] == 0xFF && is_marker(pair[1]));
        rest = &rest[marker_at.ok_or(Damaged)?..];
        let code = rest[1];
        rest = &rest[2..];
        if code == 0xD9 {
            return Ok(());
        }
        if matches!(code, 0x01 | 0xD0..=0xD7) {
            continue;
        }
        let length = usize::from(u16::from_be_bytes(*rest.first_chunk().ok_or(Damaged)?));
        let segment = rest.get(2..length).ok_or(Damaged)?;
        rest = &rest[length..];
        match code {
            0xC4 => tables.define(segment)?,
            0xDD => tables.restart_interval = usize::from(be_u16(segment, 0)?),
            // Whoever looked at the size looked at the first.
            0xC0..=0xC2 if frame.is_some() => return Err(Damaged),
            0xC0..=0xC2 => frame = Some(Frame::parse(segment, code == 0xC2)?),
            // Other codings, and a height that only comes after the first scan.
            0xC3 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF | 0xDC => return Ok(()),
            0xDA => {
                scans += 1;
                if scans > SCANS_MAX {
                    return Err(Damaged);
                }
                let frame = frame.as_mut().ok_or(Damaged)?;
                if frame.height == 0 {
                    return Ok(());
                }
                let coded = scan_bytes(rest);
                let scan = Scan::parse(segment, frame)?;
                // Cameras leave the standard's own tables out, and decoders put them in.
                if !scan.has_codes(frame, &tables) {
                    return Ok(());
                }
                scan.walk(frame, &tables, coded)?;
                rest = &rest[coded.len()..];
            }
            _ => {}
        }
    }
}

/// What follows `FF` in a marker; zero is a stuffed data byte, and another `FF` fills.
fn is_marker(code: u8) -> bool {
    !matches!(code, 0x00 | 0xFF)
}

/// Entropy-coded data with its restart markers, up to the next other marker.
fn scan_bytes(rest: &[u8]) -> &[u8] {
    let ends =
        |pair: &[u8]| pair[0] == 0xFF && is_marker(pair[1]) && !(0xD0..=0xD7).contains(&pair[1]);
    let end = rest.windows(2).position(ends).unwrap_or(rest.len());
    &rest[..end]
}

fn be_u16(bytes: &[u8], at: usize) -> Walk<u16> {
    let pair = bytes.get(at..).and_then(|bytes| bytes.first_chunk()).ok_or(Damaged)?;
    Ok(u16::from_be_bytes(*pair))
}

/// A Huffman table: for each next 16 bits, the symbol and how many of them are its code; no bits
/// where no code fits.
struct Codes(Vec<(u8, u8)>);

impl Codes {
    /// Codes of equal length count up, and the next length goes on from there (C.2).
    fn new(counts: &[u8; 16], symbols: &[u8]) -> Walk<Codes> {
        let mut lookup = vec![(0, 0); 1 << 16];
        let (mut next, mut used) = (0_usize, 0);
        for (length, &count) in (1_u8..).zip(counts) {
            let span = 1 << (16 - length);
            for _ in 0..count {
                let symbol = *symbols.get(used).ok_or(Damaged)?;
                lookup.get_mut(next..next + span).ok_or(Damaged)?.fill((symbol, length));
                (next, used) = (next + span, used + 1);
            }
        }
        Ok(Codes(lookup))
    }
}

#[derive(Default)]
struct Tables {
    dc: [Option<Codes>; 4],
    ac: [Option<Codes>; 4],
    /// MCUs between two restart markers; 0: there are none.
    restart_interval: usize,
}

impl Tables {
    fn define(&mut self, mut segment: &[u8]) -> Walk<()> {
        while let Some((&kind, rest)) = segment.split_first() {
            let counts: &[u8; 16] = rest.first_chunk().ok_or(Damaged)?;
            let symbols = counts.iter().map(|&count| usize::from(count)).sum::<usize>();
            let of = rest.get(16..16 + symbols).ok_or(Damaged)?;
            let table = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *table.get_mut(usize::from(kind & 15)).ok_or(Damaged)? = Some(Codes::new(counts, of)?);
            segment = &rest[16 + symbols..];
        }
        Ok(())
    }
}

struct Frame {
    is_progressive: bool,
    width: usize,
    height: usize,
    components: Vec<Component>,
}

struct Component {
    id: u8,
    /// Blocks of each MCU, across and down.
    across: usize,
    down: usize,
    /// Of each block of a progressive file, which of its 64 coefficients are not zero so far.
    known: Vec<u64>,
}

impl Frame {
    fn parse(segment: &[u8], is_progressive: bool) -> Walk<Frame> {
        let (height, width) = (be_u16(segment, 1)?.into(), be_u16(segment, 3)?.into());
        let count = usize::from(*segment.get(5).ok_or(Damaged)?);
        let described = segment.get(6..6 + 3 * count).ok_or(Damaged)?;
        let component = |part: &[u8]| {
            let (across, down) = (usize::from(part[1] >> 4), usize::from(part[1] & 15));
            let is_possible = (1..=4).contains(&across) && (1..=4).contains(&down);
            is_possible.then_some(Component { id: part[0], across, down, known: Vec::new() })
        };
        let components: Option<Vec<_>> = described.chunks_exact(3).map(component).collect();
        let components =
            components.filter(|all| (1..=4).contains(&all.len()) && width > 0).ok_or(Damaged)?;
        Ok(Frame { is_progressive, width, height, components })
    }

    /// Blocks across and down, of the whole picture in MCUs, or of one component alone (A.2).
    fn blocks(&self, alone: Option<&Component>) -> (usize, usize) {
        let across_max = self.components.iter().map(|one| one.across).max().unwrap_or(1);
        let down_max = self.components.iter().map(|one| one.down).max().unwrap_or(1);
        let (across, down) = alone.map_or((1, 1), |one| (one.across, one.down));
        let samples = |side: usize, part: usize, max: usize| (side * part).div_ceil(max);
        match alone {
            Some(_) => (
                samples(self.width, across, across_max).div_ceil(8),
                samples(self.height, down, down_max).div_ceil(8),
            ),
            None => (self.width.div_ceil(8 * across_max), self.height.div_ceil(8 * down_max)),
        }
    }
}

/// One scan: which coefficients of which components it holds.
struct Scan {
    /// Positions in the frame, with the numbers of their tables.
    parts: Vec<(usize, usize, usize)>,
    first: usize,
    last: usize,
    is_refinement: bool,
}

impl Scan {
    fn parse(segment: &[u8], frame: &Frame) -> Walk<Scan> {
        let count = usize::from(*segment.first().ok_or(Damaged)?);
        let [selectors, settings] =
            [segment.get(1..1 + 2 * count), segment.get(1 + 2 * count..4 + 2 * count)];
        let (selectors, settings) = (selectors.ok_or(Damaged)?, settings.ok_or(Damaged)?);
        let part = |pair: &[u8]| {
            let at = frame.components.iter().position(|one| one.id == pair[0])?;
            Some((at, usize::from(pair[1] >> 4), usize::from(pair[1] & 15)))
        };
        let parts: Option<Vec<_>> = selectors.chunks_exact(2).map(part).collect();
        let parts = parts.filter(|parts| !parts.is_empty()).ok_or(Damaged)?;
        let (first, last) = (usize::from(settings[0]), usize::from(settings[1]));
        if !frame.is_progressive {
            return Ok(Scan { parts, first: 0, last: 63, is_refinement: false });
        }
        let is_possible = first <= last && last < 64 && (first == 0 || parts.len() == 1);
        let is_refinement = settings[2] >> 4 != 0;
        is_possible.then_some(Scan { parts, first, last, is_refinement }).ok_or(Damaged)
    }

    fn has_codes(&self, frame: &Frame, tables: &Tables) -> bool {
        let has =
            |codes: &[Option<Codes>; 4], at: usize| codes.get(at).is_some_and(Option::is_some);
        let needs_dc = self.first == 0 && !self.is_refinement;
        let needs_ac = !frame.is_progressive || self.first > 0;
        self.parts.iter().all(|&(_, dc, ac)| {
            (!needs_dc || has(&tables.dc, dc)) && (!needs_ac || has(&tables.ac, ac))
        })
    }

    fn walk(&self, frame: &mut Frame, tables: &Tables, coded: &[u8]) -> Walk<()> {
        let alone = (self.parts.len() == 1).then(|| &frame.components[self.parts[0].0]);
        let (across, down) = frame.blocks(alone);
        let is_alone = alone.is_some();
        let units = across * down;
        if let ([(at, ..)], true) = (&self.parts[..], frame.is_progressive) {
            frame.components[*at].known.resize(units, 0);
        }
        let interval = if tables.restart_interval == 0 { units } else { tables.restart_interval };
        let mut segments = Segments { rest: coded, number: 0 };
        for start in (0..units).step_by(interval.max(1)) {
            let mut bits = Bits::new(segments.next(start == 0)?);
            for unit in start..units.min(start + interval) {
                for &(at, dc, ac) in &self.parts {
                    let component = &mut frame.components[at];
                    let repeats = if is_alone { 1 } else { component.across * component.down };
                    let (dc, ac) = (tables.dc.get(dc), tables.ac.get(ac));
                    let codes = [dc, ac].map(|table| table.and_then(Option::as_ref));
                    let is_progressive = frame.is_progressive;
                    for _ in 0..repeats {
                        if is_progressive {
                            let known = component.known.get_mut(unit);
                            self.progressive_block(codes, known, &mut bits)?;
                        } else {
                            baseline_block(codes, &mut bits)?;
                        }
                    }
                }
                bits.check_not_past_end()?;
            }
            bits.check_at_end()?;
        }
        segments.check_done()
    }

    fn progressive_block(
        &self,
        [dc, ac]: [Option<&Codes>; 2],
        known: Option<&mut u64>,
        bits: &mut Bits,
    ) -> Walk<()> {
        if self.first == 0 {
            if self.is_refinement {
                bits.skip(1);
            } else {
                bits.skip_dc(dc)?;
            }
            return Ok(());
        }
        let known = known.ok_or(Damaged)?;
        if self.is_refinement {
            self.refine(ac, known, bits)
        } else {
            self.first_coefficients(ac, known, bits)
        }
    }

    /// The higher bits of a band's coefficients (G.1.2.2).
    fn first_coefficients(&self, ac: Option<&Codes>, known: &mut u64, bits: &mut Bits) -> Walk<()> {
        if bits.skip_blocks > 0 {
            bits.skip_blocks -= 1;
            return Ok(());
        }
        let mut at = self.first;
        while at <= self.last {
            let symbol = bits.symbol(ac)?;
            let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
            match (run, size) {
                (15, 0) => at += 16,
                (_, 0) => {
                    let more = bits.take(u32::from(symbol >> 4));
                    bits.skip_blocks = (1 << run) - 1 + more;
                    return Ok(());
                }
                _ => {
                    at += run;
                    if at > self.last {
                        return Err(Damaged);
                    }
                    bits.skip(size);
                    *known |= 1 << at;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// One more bit of each coefficient that is known, and new ones between them (G.1.2.3).
    fn refine(&self, ac: Option<&Codes>, known: &mut u64, bits: &mut Bits) -> Walk<()> {
        let mut at = self.first;
        while bits.skip_blocks == 0 && at <= self.last {
            let symbol = bits.symbol(ac)?;
            let (mut run, size) = (symbol >> 4, symbol & 15);
            if size == 0 && run < 15 {
                let more = bits.take(run.into());
                bits.skip_blocks = (1 << run) + more;
                break;
            }
            if size > 0 {
                // Its sign.
                bits.skip(1);
            }
            while at <= self.last {
                if *known >> at & 1 == 1 {
                    bits.skip(1);
                } else if run == 0 {
                    break;
                } else {
                    run -= 1;
                }
                at += 1;
            }
            if size > 0 {
                if at > self.last {
                    return Err(Damaged);
                }
                *known |= 1 << at;
            }
            at += 1;
        }
        if bits.skip_blocks > 0 {
            let rest = (at..=self.last).filter(|at| *known >> at & 1 == 1).count();
            bits.skip(u32::try_from(rest).expect("64 at most"));
            bits.skip_blocks -= 1;
        }
        Ok(())
    }
}

fn baseline_block([dc, ac]: [Option<&Codes>; 2], bits: &mut Bits) -> Walk<()> {
    bits.skip_dc(dc)?;
    let mut at = 1;
    while at < 64 {
        let symbol = bits.symbol(ac)?;
        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
        match (run, size) {
            (15, 0) => at += 16,
            (_, 0) => break,
            _ => {
                at += run + 1;
                if at > 64 {
                    return Err(Damaged);
                }
                bits.skip(size);
            }
        }
    }
    Ok(())
}

/// The pieces of a scan between restart markers, which count from 0 to 7 and again.
struct Segments<'a> {
    rest: &'a [u8],
    number: u8,
}

impl<'a> Segments<'a> {
    fn next(&mut self, is_first: bool) -> Walk<&'a [u8]> {
        if !is_first {
            let (marker, rest) = self.rest.split_at_checked(2).ok_or(Damaged)?;
            if marker != [0xFF, 0xD0 + self.number] {
                return Err(Damaged);
            }
            (self.rest, self.number) = (rest, (self.number + 1) % 8);
        }
        let is_restart = |pair: &[u8]| pair[0] == 0xFF && is_marker(pair[1]);
        let end = self.rest.windows(2).position(is_restart).unwrap_or(self.rest.len());
        let (segment, rest) = self.rest.split_at(end);
        self.rest = rest;
        // Any number of FF may fill before a marker.
        let filled = segment.iter().rev().take_while(|&&byte| byte == 0xFF).count();
        Ok(&segment[..segment.len() - filled])
    }

    /// Some encoders end with one restart marker more.
    fn check_done(&self) -> Walk<()> {
        if self.rest.len() <= 2 { Ok(()) } else { Err(Damaged) }
    }
}

/// Bits of one segment, the highest of each byte first.
struct Bits {
    /// Without stuffing, and with zeros behind, so that every bit can be looked at.
    bytes: Vec<u8>,
    at: usize,
    end: usize,
    /// Blocks that have no more coefficients of this band.
    skip_blocks: u32,
}

impl Bits {
    fn new(segment: &[u8]) -> Bits {
        let mut bytes = Vec::with_capacity(segment.len() + 8);
        let mut after_ff = false;
        for &byte in segment {
            if !(after_ff && byte == 0) {
                bytes.push(byte);
            }
            after_ff = byte == 0xFF;
        }
        let end = 8 * bytes.len();
        bytes.extend([0; 8]);
        Bits { bytes, at: 0, end, skip_blocks: 0 }
    }

    /// The next 16 bits.
    fn next_16(&self) -> usize {
        // Past the end there are zeros, and `check_not_past_end` says so.
        let Some(word) = self.bytes.get(self.at / 8..).and_then(|bytes| bytes.first_chunk()) else {
            return 0;
        };
        (u32::from_be_bytes(*word) << (self.at % 8) >> 16) as usize
    }

    fn skip(&mut self, count: u32) {
        self.at += count as usize;
    }

    /// A number of up to 15 bits.
    fn take(&mut self, count: u32) -> u32 {
        let bits = self.next_16() >> (16 - count);
        self.skip(count);
        u32::try_from(bits).expect("16 bits")
    }

    fn symbol(&mut self, codes: Option<&Codes>) -> Walk<u8> {
        match codes.ok_or(Damaged)?.0[self.next_16()] {
            (_, 0) => Err(Damaged),
            (symbol, length) => {
                self.skip(length.into());
                Ok(symbol)
            }
        }
    }

    /// A block's mean, as the difference to the last block's: at most 15 bits (F.1.2.1).
    fn skip_dc(&mut self, codes: Option<&Codes>) -> Walk<()> {
        let size = self.symbol(codes)?;
        self.skip(size.into());
        if size < 16 { Ok(()) } else { Err(Damaged) }
    }

    fn check_not_past_end(&self) -> Walk<()> {
        if self.at <= self.end { Ok(()) } else { Err(Damaged) }
    }

    /// What is left is the rest of a byte. Some encoders add whole bytes of zeros.
    fn check_at_end(&self) -> Walk<()> {
        self.check_not_past_end()?;
        let left = &self.bytes[self.at.div_ceil(8)..self.end / 8];
        if left.iter().all(|&byte| byte == 0) { Ok(()) } else { Err(Damaged) }
    }
}
