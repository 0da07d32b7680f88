//! What a `.cubin` says about its kernels: the ELF sections `.nv.info` and `.nv.info.KERNEL`.

/// A kernel's entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub kernel: String,
    /// Registers of a thread.
    pub registers: u32,
    /// Bytes of the shared memory that it declares.
    pub shared_bytes: u32,
    /// The threads of a block for which it is compiled: its launch bounds; 0 if it has none.
    pub threads: u32,
    /// Bytes of each parameter.
    pub parameters: Vec<u32>,
}

// Attributes of `.nv.info`, by the names that cuobjdump prints.
const MAX_THREADS: u8 = 0x05;
const KPARAM_INFO: u8 = 0x17;
const REGCOUNT: u8 = 0x2f;
/// The format of an attribute whose value is as long as it says; others have two bytes.
const SIZED: u8 = 4;

struct Section<'a> {
    name: &'a str,
    size: usize,
    bytes: &'a [u8],
}

/// Every kernel, in order of names.
pub fn entries(cubin: &[u8]) -> Result<Vec<Entry>, String> {
    parse(cubin).ok_or_else(|| "not a cubin of this toolkit".to_string())
}

fn parse(cubin: &[u8]) -> Option<Vec<Entry>> {
    let sections = sections(cubin)?;
    let named = |name: &str| sections.iter().find(|section| section.name == name);
    let symbols = named(".symtab")?;
    let names = named(".strtab")?;
    let registers: Vec<(&str, u32)> = attributes(named(".nv.info")?.bytes)?
        .filter(|(attribute, _)| *attribute == REGCOUNT)
        .filter_map(|(_, value)| {
            let symbol = symbols.bytes.get(24 * u32_at(value, 0)? as usize..)?;
            Some((text(names.bytes, u32_at(symbol, 0)? as usize)?, u32_at(value, 4)?))
        })
        .collect();
    let mut entries = Vec::new();
    for section in &sections {
        let Some(kernel) = section.name.strip_prefix(".nv.info.") else { continue };
        let mut entry = Entry { kernel: kernel.to_string(), ..Entry::default() };
        let mut parameters = Vec::new();
        for (attribute, value) in attributes(section.bytes)? {
            match attribute {
                MAX_THREADS => {
                    entry.threads = u32_at(value, 0)? * u32_at(value, 4)? * u32_at(value, 8)?;
                }
                // An index, the ordinal and the offset (2 bytes each), and the size in bits 18 on.
                KPARAM_INFO => {
                    parameters.push((u32_at(value, 4)? & 0xffff, u32_at(value, 8)? >> 18))
                }
                _ => {}
            }
        }
        parameters.sort_unstable();
        entry.parameters = parameters.into_iter().map(|(_, size)| size).collect();
        entry.registers = registers.iter().find(|(name, _)| *name == kernel)?.1;
        let shared = format!(".nv.shared.{kernel}");
        entry.shared_bytes = named(&shared).map_or(0, |section| section.size as u32);
        entries.push(entry);
    }
    entries.sort_by(|a, b| a.kernel.cmp(&b.kernel));
    Some(entries)
}

/// The sections of an ELF file of 64 bits.
fn sections(elf: &[u8]) -> Option<Vec<Section<'_>>> {
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let at = u64_at(elf, 0x28)?;
    let (count, names) = (u32_at(elf, 0x3c)? & 0xffff, u32_at(elf, 0x3c)? >> 16);
    let header = |idx: u32| elf.get(at + 64 * idx as usize..);
    let body = |header: &[u8]| -> Option<(usize, usize)> {
        Some((u64_at(header, 0x18)?, u64_at(header, 0x20)?))
    };
    let (names_at, names_size) = body(header(names)?)?;
    let names = elf.get(names_at..names_at + names_size)?;
    let sections = (0..count).map(|idx| {
        const NO_BITS: u32 = 8;
        let header = header(idx)?;
        let (at, size) = body(header)?;
        let stored = if u32_at(header, 4)? == NO_BITS { 0 } else { size };
        let name = text(names, u32_at(header, 0)? as usize)?;
        Some(Section { name, size, bytes: elf.get(at..at + stored)? })
    });
    sections.collect()
}

/// Attributes and their values.
fn attributes(mut info: &[u8]) -> Option<impl Iterator<Item = (u8, &[u8])>> {
    let mut all = Vec::new();
    while !info.is_empty() {
        let [format, attribute, low, high] = *info.first_chunk()?;
        let length = if format == SIZED { usize::from(low) + 256 * usize::from(high) } else { 0 };
        all.push((attribute, info.get(4..4 + length)?));
        info = &info[4 + length..];
    }
    Some(all.into_iter())
}

fn text(bytes: &[u8], at: usize) -> Option<&str> {
    let bytes = bytes.get(at..)?;
    let end = bytes.iter().position(|&byte| byte == 0)?;
    std::str::from_utf8(&bytes[..end]).ok()
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file with sections of these names, types and bytes, in this order after the names.
    fn elf(sections: &[(&str, u32, &[u8])]) -> Vec<u8> {
        let mut names = vec![0u8];
        let mut file = b"\x7fELF\x02\x01".to_vec();
        file.resize(64, 0);
        let mut headers = vec![0u8; 64];
        let mut header = |name: usize, kind: u32, at: usize, size: usize| {
            let mut header = [0u8; 64];
            header[..4].copy_from_slice(&(name as u32).to_le_bytes());
            header[4..8].copy_from_slice(&kind.to_le_bytes());
            header[0x18..0x20].copy_from_slice(&(at as u64).to_le_bytes());
            header[0x20..0x28].copy_from_slice(&(size as u64).to_le_bytes());
            headers.extend(header);
        };
        for (name, kind, bytes) in sections {
            header(names.len(), *kind, file.len(), bytes.len());
            names.extend(name.bytes().chain([0]));
            file.extend(*bytes);
        }
        header(0, 3, file.len(), names.len());
        file.extend(names);
        let at = file.len() as u64;
        file[0x28..0x30].copy_from_slice(&at.to_le_bytes());
        file[0x3c] = sections.len() as u8 + 2;
        file[0x3e] = sections.len() as u8 + 1;
        file.extend(headers);
        file
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    #[test]
    fn a_kernels_resources_are_read() {
        let symbols = [vec![0; 24], words(&[1, 0, 0, 0, 0, 0])].concat();
        let registers = words(&[0x0008_2f04, 1, 40]);
        let info = words(&[
            0x000c_0504,
            256,
            1,
            1, // launch bounds
            0x000c_1704,
            0,
            0x0008_0001,
            4 << 18, // parameter 1 at 8, of 4 bytes
            0x000c_1704,
            0,
            0x0000_0000,
            8 << 18,
            0x0080_1b03, // at most 128 registers: in two bytes
        ]);
        let file = elf(&[
            (".strtab", 3, b"\0k\0"),
            (".symtab", 2, &symbols),
            (".nv.info", 1, &registers),
            (".nv.info.k", 1, &info),
            (".nv.shared.k", 8, &[0; 48]),
        ]);
        let expected = Entry {
            kernel: "k".to_string(),
            registers: 40,
            shared_bytes: 48,
            threads: 256,
            parameters: vec![8, 4],
        };
        assert_eq!(entries(&file), Ok(vec![expected]));
        assert!(entries(&file[..file.len() - 70]).is_err());
        assert!(entries(b"PTX").is_err());
    }
}
