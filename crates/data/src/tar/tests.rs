use super::*;
use proptest::prelude::*;
use std::fs::File;
use std::process::Command;

/// A header whose checksum is right.
fn header(name: &[u8], kind: u8, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
    block[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    summed(block)
}

fn summed(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

/// A header and its contents, filled up to whole blocks.
fn member(name: &[u8], kind: u8, contents: &[u8]) -> Vec<u8> {
    let mut bytes = [&header(name, kind, contents.len() as u64), contents].concat();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn pax(records: &[(&str, &str)]) -> Vec<u8> {
    member(b"PaxHeader", b'x', &pax_text(records))
}

fn pax_text(records: &[(&str, &str)]) -> Vec<u8> {
    let record = |(key, value): &(&str, &str)| {
        let rest = format!(" {key}={value}\n");
        let digits = (1..).find(|d| (rest.len() + d).to_string().len() == *d).unwrap();
        format!("{}{rest}", rest.len() + digits)
    };
    records.iter().map(record).collect::<String>().into_bytes()
}

fn end() -> Vec<u8> {
    vec![0; 1024]
}

/// All members, and what was passed over.
fn walk(archive: &[u8]) -> Result<(Vec<TarMember>, SkippedMembers), TarError> {
    let mut members = TarMembers::new(archive, 0..archive.len() as u64);
    let found = members.by_ref().collect::<Result<_, _>>()?;
    Ok((found, *members.skipped()))
}

fn names(archive: &[u8]) -> Vec<String> {
    walk(archive).unwrap().0.into_iter().map(|member| member.name).collect()
}

fn problem(archive: &[u8]) -> TarProblem {
    walk(archive).unwrap_err().problem
}

#[test]
fn offsets_of_plain_members_are_those_of_their_bytes() {
    let archive = [
        member(b"a", b'0', b"first"),
        member(b"folder/", b'5', b""),
        member(b"old/", 0, b""),
        member(b"b/c", 0, &[7; 513]),
        member(b"empty", b'7', b""),
        end(),
    ]
    .concat();
    let (members, skipped) = walk(&archive).unwrap();
    let at = |name: &str, offset, len| TarMember { name: name.into(), offset, len };
    assert_eq!(members, [at("a", 512, 5), at("b/c", 2560, 513), at("empty", 4096, 0)]);
    assert_eq!(skipped, SkippedMembers::default());
    assert_eq!(skipped.to_string(), "");
}

#[test]
fn a_tar_in_a_tar_is_read_in_place() {
    let inner = [member(b"x.JPEG", b'0', b"image"), end()].concat();
    let outer =
        [member(b"n01.tar", b'0', &inner), member(b"n02.tar", b'0', &inner), end()].concat();
    let found: Vec<u64> = walk(&outer)
        .unwrap()
        .0
        .iter()
        .flat_map(|class| {
            TarMembers::new(&outer[..], class.offset..class.offset + class.len)
                .map(|member| member.unwrap().offset)
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(found, [1024, 1024 + 512 + inner.len() as u64]);
    // An inner archive whose member claims to reach beyond it, though the outer goes on.
    let mut greedy = inner.clone();
    greedy[..512].copy_from_slice(&header(b"x.JPEG", b'0', 4000));
    let outer = [member(b"n01.tar", b'0', &greedy), member(b"n02.tar", b'0', &inner), end()];
    let outer = outer.concat();
    let range = 512..512 + greedy.len() as u64;
    let broken = TarMembers::new(&outer[..], range.clone()).next_member().unwrap_err();
    assert_eq!(broken, TarProblem::Truncated { wanted: 4000 }.at(range.end));
}

#[test]
fn long_names_come_from_gnu_pax_or_a_prefix() {
    let long = "d/".repeat(100) + "file";
    let mut prefixed = header(b"file", b'0', 0);
    prefixed[345..345 + 7].copy_from_slice(b"folder1");
    let mut gnu_magic = prefixed.clone();
    gnu_magic[257..265].copy_from_slice(b"ustar  \0");
    let archive = [
        member(b"././@LongLink", b'K', b"where a link would lead\0"),
        member(b"././@LongLink", b'L', format!("{long}\0").as_bytes()),
        member(b"short", b'0', b"1"),
        pax(&[("mtime", "1.5"), ("path", &long)]),
        member(b"short", b'0', b"2"),
        member(b"after", b'0', b"3"),
        summed(prefixed),
        summed(gnu_magic),
        member(b"global", b'g', &pax_text(&[("comment", "of a commit")])),
        member(b"last", b'0', b"4"),
        end(),
    ]
    .concat();
    assert_eq!(names(&archive), [&long, &long, "after", "folder1/file", "file", "last"]);
}

#[test]
fn members_that_are_not_plain_files_are_counted_and_never_followed() {
    let mut sparse = header(b"holes", b'S', 512);
    sparse[482] = 1;
    let mut more = vec![0; 512];
    more[504] = 1;
    let archive = [
        member(b"hard", b'1', b""),
        member(b"soft", b'2', b""),
        member(b"char", b'3', b""),
        member(b"block", b'4', b""),
        member(b"pipe", b'6', b""),
        summed(sparse),
        more,
        vec![0; 512],
        vec![1; 512],
        pax(&[("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "99999")]),
        member(b"holes2", b'0', b"x"),
        member(b"/etc/passwd", b'0', b"x"),
        member(b"../up", b'0', b"x"),
        member(b"a/../../up", b'0', b"x"),
        pax(&[("path", "/etc/passwd")]),
        member(b"innocent", b'0', b"x"),
        member(b"", b'0', b"x"),
        member(b"\xff\xfe", b'0', b"x"),
        member(b"red\x1b[31m", b'0', b"x"),
        member(b"strange", b'Z', b"x"),
        member(b"good..name/...", b'0', b"x"),
        end(),
    ]
    .concat();
    let (members, skipped) = walk(&archive).unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0].name, "good..name/...");
    assert_eq!(UnusableKind::ALL.map(|reason| skipped.count(reason)), [2, 3, 2, 4, 3, 1, 0]);
    assert_eq!(skipped.total(), 15);
    let told = skipped.to_string();
    assert!(
        told.starts_with("2 links, 3 devices or pipes, 2 sparse files, 4 absolute names"),
        "{told}"
    );
}

/// The tricks that make two programs see different members: each is refused.
#[test]
fn ambiguous_headers_are_rejected() {
    let hidden = member(b"hidden", b'0', b"");
    let ambiguous = |parts: &[Vec<u8>]| {
        let archive = [parts.concat(), end()].concat();
        assert!(matches!(problem(&archive), TarProblem::Ambiguous(_)), "{:?}", walk(&archive));
    };
    // The header says one size, its PAX record another: RUSTSEC-2026-0068.
    ambiguous(&[pax(&[("size", "0")]), member(b"a", b'0', &hidden)]);
    ambiguous(&[pax(&[("size", "1024")]), member(b"a", b'0', &hidden)]);
    ambiguous(&[pax(&[("size", "5"), ("size", "6")]), header(b"a", b'0', 0)]);
    ambiguous(&[pax(&[("size", "512")]), pax(&[("size", "0")]), header(b"a", b'0', 0)]);
    ambiguous(&[member(b"g", b'g', &pax_text(&[("size", "512")])), member(b"a", b'0', b"")]);
    for kind in [b'1', b'2', b'3', b'5', b'6'] {
        ambiguous(&[member(b"a", kind, &hidden)]);
    }
    ambiguous(&[member(b"a/", 0, &hidden)]);
    ambiguous(&[pax(&[("size", "512")]), header(b"a", b'2', 0)]);
    ambiguous(&[pax(&[("path", "b")]), member(b"l", b'L', b"c\0"), member(b"a", b'0', b"")]);
    ambiguous(&[member(b"l", b'L', b"b\0"), member(b"l", b'L', b"c\0"), member(b"a", b'0', b"")]);
}

/// A PAX size is for the member, and not for an extended header on the way to it.
#[test]
fn a_pax_size_does_not_reach_a_long_name() {
    let archive = [
        pax(&[("size", "1024")]),
        member(b"././@LongLink", b'L', b"whole name\0"),
        header(b"a", b'0', 0),
        member(b"hidden", b'0', &[1; 512]),
        member(b"b", b'0', b""),
        end(),
    ]
    .concat();
    let (members, _) = walk(&archive).unwrap();
    assert_eq!(members[0].len, 1024);
    assert_eq!(names(&archive), ["whole name", "b"]);
}

/// A file of holes alone: nothing of it takes up space or is ever read.
#[test]
fn members_larger_than_octal_digits_reach() {
    struct Holes(Vec<(u64, Vec<u8>)>);
    impl ReadAt for Holes {
        fn read_at(&self, bytes: &mut [u8], offset: u64) -> std::io::Result<usize> {
            assert!(bytes.len() <= 512, "contents are not read");
            let (start, part) = self.0.iter().rfind(|part| part.0 <= offset).unwrap();
            ReadAt::read_at(&part[..], bytes, offset - start)
        }
    }
    let big: u64 = (9 << 30) + 5;
    let mut base_256 = header(b"big", b'0', 0);
    base_256[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 2, 0x40, 0, 0, 5]);
    let pax_first = [pax(&[("size", &big.to_string())]), header(b"big", b'0', 0)].concat();
    for first in [summed(base_256), pax_first] {
        let offset = first.len() as u64;
        let second = offset + big.next_multiple_of(512);
        let rest = [member(b"next", b'0', b"x"), end()].concat();
        let end = second + rest.len() as u64;
        let holes = Holes(vec![(0, first), (second, rest)]);
        let found: Vec<TarMember> = TarMembers::new(&holes, 0..end).map(Result::unwrap).collect();
        assert_eq!(found[0], TarMember { name: "big".into(), offset, len: big });
        assert_eq!((found[1].name.as_str(), found[1].offset), ("next", second + 512));
    }
}

#[test]
fn sizes_that_overflow_or_are_not_numbers_are_errors() {
    let sized = |field: &[u8; 12]| {
        let mut block = header(b"a", b'0', 0);
        block[124..136].copy_from_slice(field);
        [summed(block), end()].concat()
    };
    let most = sized(b"\x80\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(problem(&most), TarProblem::Truncated { wanted: u64::MAX });
    let mut endless = TarMembers::new(&most[..], 0..u64::MAX);
    assert!(endless.next_member().is_err());
    assert_eq!(
        problem(&sized(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")),
        TarProblem::Number("size")
    );
    assert_eq!(problem(&sized(b"0000000009\0\0")), TarProblem::Number("size"));
    let huge = [pax(&[("size", "18446744073709551615")]), header(b"a", b'0', 0), end()].concat();
    assert_eq!(problem(&huge), TarProblem::Truncated { wanted: u64::MAX });
    let beyond = [pax(&[("size", "18446744073709551616")]), header(b"a", b'0', 0), end()].concat();
    assert_eq!(problem(&beyond), TarProblem::Number("size"));
}

#[test]
fn limits_are_enforced() {
    let name = |len: usize| [member(b"l", b'L', &vec![b'n'; len]), member(b"a", b'0', b""), end()];
    assert_eq!(names(&name(4096).concat())[0].len(), 4096);
    assert_eq!(walk(&name(4097).concat()).unwrap().1.count(UnusableKind::Name), 1);
    let wanted = TarProblem::LongExtension { len: 4098, longest: 4097 };
    assert_eq!(problem(&name(4098).concat()), wanted);

    let comment = |len: usize| {
        let text = pax_text(&[("comment", &"c".repeat(len))]);
        let extra = text.len() - len;
        (text, extra)
    };
    let extra = comment(65_500).1;
    let text =
        |len: usize| [member(b"p", b'x', &comment(len - extra).0), member(b"a", b'0', b""), end()];
    assert_eq!(names(&text(65_536).concat()), ["a"]);
    assert!(matches!(
        problem(&text(65_537).concat()),
        TarProblem::LongExtension { len: 65_537, .. }
    ));

    let comments = |count: usize| {
        let extensions = pax(&[("comment", "c")]).repeat(count);
        [extensions, member(b"a", b'0', b""), end()].concat()
    };
    assert_eq!(names(&comments(MAX_EXTENSIONS)), ["a"]);
    assert_eq!(problem(&comments(MAX_EXTENSIONS + 1)), TarProblem::TooManyExtensions);

    let mut map = header(b"holes", b'S', 0);
    map[482] = 1;
    let mut more = vec![0; 512];
    more[504] = 1;
    let endless = [summed(map), more.repeat(MAX_SPARSE_BLOCKS), end()].concat();
    assert_eq!(problem(&endless), TarProblem::TooManyExtensions);
}

#[test]
fn checksums_are_compared() {
    let archive = [member(b"name", b'0', b"contents"), end()].concat();
    for position in (0..512).filter(|position| !(148..156).contains(position)) {
        let mut changed = archive.clone();
        changed[position] ^= 1;
        assert_eq!(walk(&changed).unwrap_err(), TarProblem::Checksum.at(0), "byte {position}");
    }
    // Programs that summed signed bytes.
    let mut signed = header(b"\xc3\xa9", b'0', 0);
    signed[148..156].fill(b' ');
    let sum: i32 = signed.iter().map(|&byte| i32::from(byte as i8)).sum();
    signed[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(names(&[signed, end()].concat()), ["é"]);
    let text = b"<html>this is what a server sends in place of an archive".repeat(20);
    assert_eq!(walk(&text).unwrap_err(), TarProblem::Checksum.at(0));
}

#[test]
fn an_archive_truncated_anywhere_is_an_error_with_its_position() {
    let archive = [
        member(b"a", b'0', b"first"),
        pax(&[("path", "some/longer/name")]),
        member(b"b", b'0', &[7; 600]),
        member(b"././@LongLink", b'L', b"another\0"),
        member(b"c", b'0', b""),
        end(),
    ]
    .concat();
    let whole = walk(&archive).unwrap();
    for length in 0..archive.len() {
        let cut = &archive[..length];
        // One block of zeros is an end; what follows is padding.
        if length >= archive.len() - 512 {
            assert_eq!(walk(cut).unwrap(), whole);
            continue;
        }
        let broken = walk(cut).unwrap_err();
        assert!(matches!(broken.problem, TarProblem::Truncated { .. }), "{length}: {broken}");
        assert_eq!(broken.at, length as u64, "{broken}");
        // Where the end is not known beforehand, a cut shows at the next header.
        let broken = TarMembers::new(cut, 0..u64::MAX).find_map(Result::err).unwrap();
        assert!(matches!(broken.problem, TarProblem::Truncated { .. }), "{length}: {broken}");
    }
}

#[test]
fn no_member_follows_an_end_or_an_error() {
    let dangling = [pax(&[("path", "b")]), end()].concat();
    assert_eq!(problem(&dangling), TarProblem::NothingExtended);
    let mut members = TarMembers::new(&dangling[..], 0..dangling.len() as u64);
    assert!(members.next_member().is_err());
    assert_eq!(members.next_member(), Ok(None));

    let one = [member(b"a", b'0', b"x"), end()].concat();
    let (members, skipped) = walk(&one.repeat(2)).unwrap();
    assert_eq!((members.len(), skipped.count(UnusableKind::BeyondEnd)), (1, 1));
    assert_eq!(skipped.to_string(), "1 data after the end");
    let padded = [one, vec![0; 8192]].concat();
    assert_eq!(walk(&padded).unwrap().1.total(), 0);
}

#[test]
fn a_stream_is_read_forward_up_to_a_limit() {
    let archive = [member(b"a", b'0', &[1; 20_000]), member(b"b", b'0', b"two"), end()].concat();
    let stream = ForwardReader::new(&archive[..], 1 << 20);
    let mut members = TarMembers::new(&stream, 0..u64::MAX);
    let first = members.next_member().unwrap().unwrap();
    let second = members.next_member().unwrap().unwrap();
    let mut bytes = [0; 3];
    assert_eq!(stream.read_at(&mut bytes, second.offset).unwrap(), 3);
    assert_eq!(&bytes, b"two");
    assert!(members.next_member().unwrap().is_none());
    let gone = stream.read_at(&mut bytes, first.offset).unwrap_err();
    assert!(gone.to_string().contains("was already read"), "{gone}");

    let endless = ForwardReader::new(std::io::repeat(0), 1 << 20);
    let error = endless.read_at(&mut bytes, u64::MAX).unwrap_err();
    assert!(error.to_string().contains("exceeds 1 MiB"), "{error}");
}

/// What GNU tar itself writes, in its three formats, if it is installed.
#[test]
fn archives_of_gnu_tar() {
    if Command::new("tar").arg("--version").output().is_err() {
        return;
    }
    let dir = crate::scratch_dir::ScratchDir::new();
    let long = format!("in/{}/{}.JPEG", "f".repeat(120), "n".repeat(150));
    dir.write("in/a.JPEG", &[1; 700]);
    dir.write(&long, b"long");
    std::os::unix::fs::symlink("a.JPEG", dir.path().join("in/link")).unwrap();
    std::fs::hard_link(dir.path().join("in/a.JPEG"), dir.path().join("in/z")).unwrap();
    for format in ["gnu", "pax", "ustar"] {
        let path = dir.path().join(format!("{format}.tar"));
        let made = Command::new("tar")
            .current_dir(dir.path())
            .args(["--sort=name", "-H", format])
            .arg("-cf")
            .arg(&path)
            .arg("in")
            .stderr(std::process::Stdio::null())
            .status()
            .unwrap();
        let long_too = format != "ustar"; // whose prefix does not reach so far
        assert_eq!(made.success(), long_too);
        let file = File::open(&path).unwrap();
        let mut members = TarMembers::new(&file, 0..file.metadata().unwrap().len());
        let found: Vec<TarMember> = members.by_ref().map(Result::unwrap).collect();
        let names: Vec<&str> = found.iter().map(|member| member.name.as_str()).collect();
        let wanted = ["in/a.JPEG", &long];
        assert_eq!(names, wanted[..1 + usize::from(long_too)], "{format}");
        assert_eq!(members.skipped().count(UnusableKind::Link), 2);
    }
}

proptest! {
    /// Archives of the `tar` crate: names of any length, contents of any size.
    #[test]
    fn written_members_are_read_back(
        files in prop::collection::vec(
            ("[a-zé ]{1,90}(/[a-z.]{1,9}x){0,30}", prop::collection::vec(any::<u8>(), 0..1500)),
            0..6,
        ),
    ) {
        let mut builder = ::tar::Builder::new(Vec::new());
        for (name, contents) in &files {
            let mut header = ::tar::Header::new_gnu();
            header.set_size(contents.len() as u64);
            builder.append_data(&mut header, name, &contents[..]).unwrap();
        }
        let archive = builder.into_inner().unwrap();
        let (members, skipped) = walk(&archive).unwrap();
        prop_assert_eq!(skipped.total(), 0);
        prop_assert_eq!(members.len(), files.len());
        for (member, (name, contents)) in members.iter().zip(&files) {
            prop_assert_eq!(&member.name, name);
            let bytes = &archive[member.offset as usize..][..member.len as usize];
            prop_assert_eq!(bytes, &contents[..]);
        }
    }

    /// Whatever the bytes, an answer: members inside the range, in order, and an end.
    #[test]
    fn any_bytes_are_members_or_an_error(
        blocks in prop::collection::vec(
            prop_oneof![
                (any::<[u8; 4]>(), 0u64..3000, prop::sample::select(b"0125SLKxg\0Z".to_vec()))
                    .prop_map(|(name, size, kind)| header(&name, kind, size)),
                prop::collection::vec(any::<u8>(), 512),
                Just(vec![0; 512]),
                Just(pax(&[("size", "700"), ("path", "p")])),
            ],
            0..12,
        ),
    ) {
        let archive = blocks.concat();
        let mut last = 0;
        for member in TarMembers::new(&archive[..], 0..archive.len() as u64).map_while(Result::ok) {
            prop_assert!(member.offset > last);
            prop_assert!(member.offset + member.len <= archive.len() as u64);
            last = member.offset;
        }
    }
}
