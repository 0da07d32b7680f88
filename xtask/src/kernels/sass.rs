//! What the loop of a tensor-core kernel costs, counted in its machine code for sm_90.
//!
//! A panel is a step of that loop: `DEPTH` k of a tile. Of all ways through the loop the one
//! counted copies the panel 16 bytes at a time ("wide"), or 4 ("narrow"), and takes the fewest
//! instructions. Copies are asynchronous (LDGSTS), or loads into registers (LDG); of the latter a
//! warp may have more than its part, and the one with most is counted.

/// Threads of a block, in warps.
const WARPS: u32 = 8;
/// Numbers that a lane of a warp gives to an instruction: HMMA.16816 is 16 x 8 x 16, HMMA.1688
/// 16 x 8 x 8.
const PRODUCT: u32 = 16 * 8;

/// An instruction: its address and text.
type Instruction<'a> = (u32, &'a str);

/// The cost of a panel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Panel {
    /// Tensor-core instructions of a warp.
    pub products: u32,
    /// Instructions of a warp, one issue slot each.
    pub slots: u32,
    /// Clocks of a block in shared memory, which moves 128 bytes a clock.
    pub shared: u32,
}

/// The two ways through a kernel's loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Rows and columns of a tile.
    pub tile: [u32; 2],
    /// Copies of 16 bytes.
    pub wide: Panel,
    /// Copies of 4 bytes.
    pub narrow: Panel,
}

/// The cost of `kernel` in the output of cuobjdump, or the reason why it cannot be counted.
pub fn cost(kernel: &str, sass: &str, depth: u32) -> Result<Cost, String> {
    let code = instructions(kernel, sass);
    let wrong = |what: &str| format!("{kernel}: {what}");
    let panels = panel_loop(&code).ok_or_else(|| wrong("no loop with HMMA and a barrier"))?;
    let tile = tile_of(kernel);
    let k = if kernel.ends_with("_bf16") { 16 } else { 8 };
    let products = tile[0] * tile[1] * depth / (WARPS * PRODUCT * k);
    let count = |bytes: u32| {
        let copies = (tile[0] + tile[1]) * depth * 4 / (bytes * WARPS * 32);
        let code = &code[panels.0..=panels.1];
        let is_asynchronous = code.iter().any(|(_, text)| text.contains("LDGSTS"));
        let copy = if is_asynchronous { "LDGSTS." } else { "LDG." };
        Path { code, copy, bytes, copies, products }.cost()
    };
    match (count(16), count(4)) {
        (Some(wide), Some(narrow)) => Ok(Cost { tile, wide, narrow }),
        _ => {
            Err(wrong("no way through its loop has as many copies and products as its tile needs"))
        }
    }
}

/// 128 x 128, 64 x 64 for a name with `small`, or a size in the name: `conv_forward_128x96_bf16`.
fn tile_of(kernel: &str) -> [u32; 2] {
    let sizes = kernel.split('_').find_map(|word| {
        let (rows, columns) = word.split_once('x')?;
        Some([rows.parse().ok()?, columns.parse().ok()?])
    });
    sizes.unwrap_or(if kernel.contains("_small") { [64; 2] } else { [128; 2] })
}

/// The instructions of a kernel, without padding.
fn instructions<'a>(kernel: &str, sass: &'a str) -> Vec<Instruction<'a>> {
    let bodies = sass.split("Function : ").skip(1);
    let body =
        bodies.filter_map(|text| text.split_once('\n')).find(|(name, _)| name.trim() == kernel);
    let lines = body.map_or("", |(_, body)| body).lines();
    let parsed = lines.filter_map(|line| {
        let (address, text) = line.trim().strip_prefix("/*")?.split_once("*/")?;
        let text = text.split_once(';')?.0.trim();
        Some((u32::from_str_radix(address, 16).ok()?, text))
    });
    parsed.filter(|(_, text)| !text.is_empty() && *text != "NOP").collect()
}

/// The position to which a branch leads, in `code`.
fn target(code: &[Instruction<'_>], at: usize) -> Option<usize> {
    let (_, address) = code[at].1.split_once("BRA ")?;
    let digits = address.rsplit("0x").next()?.trim();
    let address = u32::from_str_radix(digits, 16).ok()?;
    code.iter().position(|&(other, _)| other == address)
}

fn is_conditional(text: &str) -> bool {
    text.starts_with('@') && !text.starts_with("@PT")
}

/// Begin and end of the smallest loop that has a barrier and tensor-core instructions.
fn panel_loop(code: &[Instruction<'_>]) -> Option<(usize, usize)> {
    let loops = (0..code.len()).filter_map(|end| {
        let begin = target(code, end).filter(|&begin| begin < end)?;
        let has = |what: &str| code[begin..=end].iter().any(|(_, text)| text.contains(what));
        (has("HMMA") && has("BAR.SYNC")).then_some((begin, end))
    });
    loops.min_by_key(|(begin, end)| end - begin)
}

/// A search for the cheapest way through a loop.
struct Path<'a> {
    code: &'a [Instruction<'a>],
    /// The instruction that copies.
    copy: &'static str,
    /// Of the copies that it takes, and how many of a thread in a panel.
    bytes: u32,
    copies: u32,
    products: u32,
}

/// The counts of a way: how many of the wanted copies and products it has, then its cost.
#[derive(Clone, Copy, Default)]
struct Way {
    copies: u32,
    looped_copies: u32,
    products: u32,
    looped_products: u32,
    cost: [Panel; 3],
}

impl Path<'_> {
    fn cost(&self) -> Option<Panel> {
        let inner: Vec<(usize, usize)> = (1..self.code.len() - 1)
            .filter_map(|end| Some((target(self.code, end)?, end)))
            .filter(|(begin, end)| begin < end)
            .collect();
        // From the end: the best way from each instruction on.
        let mut best: Vec<Option<Way>> = vec![None; self.code.len() + 1];
        best[self.code.len()] = Some(Way::default());
        for at in (0..self.code.len()).rev() {
            let text = self.code[at].1;
            let leads_to = target(self.code, at).filter(|&to| to > at && at + 1 < self.code.len());
            let leaves = text.contains("BRA ") && target(self.code, at).is_none();
            let falls = leads_to.is_none() || is_conditional(text);
            let next = [leads_to.filter(|_| !leaves), falls.then_some(at + 1)];
            let ways = next.into_iter().flatten().filter_map(|to| best[to]);
            let way = ways.max_by_key(Way::merit);
            let looped = inner.iter().find(|(begin, end)| (*begin..=*end).contains(&at));
            let body = looped.map(|&(begin, end)| &self.code[begin..=end]);
            best[at] = way.and_then(|way| self.with(way, text, body));
        }
        let way = best[0]?;
        // A loop's turns are what is missing without it.
        let turns = |all: u32, once: u32, looped: u32| match looped {
            0 => (all == once).then_some(0),
            _ => (all.checked_sub(once)?.is_multiple_of(looped)).then(|| (all - once) / looped),
        };
        let of_copies = match self.copy {
            "LDG." => (way.copies >= self.copies && way.looped_copies == 0).then_some(0)?,
            _ => turns(self.copies, way.copies, way.looped_copies)?,
        };
        let of_products = turns(self.products, way.products, way.looped_products)?;
        let [plain, copies, products] = way.cost;
        let sum = |of: fn(&Panel) -> u32| {
            of(&plain) + of_copies * of(&copies) + of_products * of(&products)
        };
        let (slots, shared) = (sum(|panel| panel.slots), sum(|panel| panel.shared));
        Some(Panel { products: self.products, slots, shared: shared * WARPS })
    }

    /// The way that begins with an instruction; none if that copies other sizes.
    fn with(&self, mut way: Way, text: &str, body: Option<&[Instruction<'_>]>) -> Option<Way> {
        let has = |what: &str| body.is_some_and(|body| body.iter().any(|(_, t)| t.contains(what)));
        let (in_copies, in_products) = (has(self.copy), has("HMMA"));
        let later_copies = in_copies || way.copies + way.looped_copies > 0;
        if let Some(bytes) = copied_bytes(self.copy, text) {
            if bytes != self.bytes {
                return None;
            }
            *if in_copies { &mut way.looped_copies } else { &mut way.copies } += 1;
        }
        if text.contains("HMMA") {
            *if in_products { &mut way.looped_products } else { &mut way.products } += 1;
        }
        let cost = &mut way.cost[if in_copies { 1 } else { usize::from(in_products) * 2 }];
        cost.slots += 1;
        // What is read before the last copy are cursors, the same for several lanes.
        let most = if later_copies && is_read(text) { 1 } else { u32::MAX };
        cost.shared += shared_clocks(text).min(most);
        Some(way)
    }
}

impl Way {
    /// More copies, more products, then fewer instructions.
    fn merit(&self) -> (u32, u32, std::cmp::Reverse<u32>) {
        let slots = self.cost.iter().map(|cost| cost.slots).sum();
        let products = self.products + self.looped_products;
        (self.copies + self.looped_copies, products, std::cmp::Reverse(slots))
    }
}

/// Bytes of a lane's `copy`; none of its twin that fills with zeros.
fn copied_bytes(copy: &str, text: &str) -> Option<u32> {
    if text.ends_with(", !PT") {
        return None;
    }
    let (_, kind) = text.split_once(copy)?;
    let kind = kind.split(' ').next().unwrap_or_default();
    Some(if kind.contains("128") {
        16
    } else if kind.contains("64") {
        8
    } else {
        4
    })
}

fn is_read(text: &str) -> bool {
    text.contains("LDS.") || text.contains("LDS ")
}

/// Clocks of a warp's access to shared memory, without bank conflicts. What is never executed takes
/// none: a read before an asynchronous copy, and the twin of a copy.
fn shared_clocks(text: &str) -> u32 {
    if text.starts_with("@!PT") || text.ends_with(", !PT") {
        return 0;
    }
    let name = text.split(' ').find(|word| !word.starts_with('@')).unwrap_or_default();
    let shared =
        ["LDS", "STS", "LDGSTS", "LDSM"].iter().any(|kind| name.split('.').next() == Some(kind));
    match shared {
        false => 0,
        true if name.contains("128") || name.contains("16.M88.4") => 4,
        true if name.contains("64") || name.contains("M88.2") => 2,
        true => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two panels' copies of 16 bytes in a loop, four of 4 bytes without one; a refill that is
    /// skipped; sixteen products in two turns.
    fn sass() -> String {
        let mut lines = vec![
            "BAR.SYNC.DEFER_BLOCKING 0x0",
            "@P0 BRA 0x30",
            "IMAD R1, R1, R1, R1",
            "@P1 BRA 0x80",
            "LDS.64 R2, [R3]",
            "LDGSTS.E.BYPASS.128 [R4], desc[UR4][R6.64]",
            "@P2 BRA 0x40",
            "BRA 0xc0",
        ];
        lines.extend(["LDGSTS.E [R4], desc[UR4][R6.64]"; 4]);
        lines.push("LDS.128 R8, [R9]");
        lines.extend(["HMMA.16816.F32.BF16 R4, R8, R10, R4"; 2]);
        lines.extend(["@P3 BRA 0xc0", "@!P0 BRA 0x0", "EXIT"]);
        let lines =
            lines.iter().enumerate().map(|(at, line)| format!("  /*{:04x}*/ {line} ;", 16 * at));
        format!("\t\tFunction : f_small_bf16\n{}\n", lines.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn the_cheapest_way_through_a_panel_is_counted() {
        let cost = cost("f_small_bf16", &sass(), 8).unwrap();
        assert_eq!(cost.tile, [64, 64]);
        // Depth 8: 4 KB of panels are one copy of 16 bytes, four of 4 bytes, and two products.
        assert_eq!(cost.wide.products, 2);
        // Barrier, branch, branch; LDS, LDGSTS, branch; branch; LDS, 2 HMMA, branch; branch.
        assert_eq!((cost.wide.slots, cost.wide.shared), (12, 8 * (1 + 4 + 4)));
        assert_eq!((cost.narrow.slots, cost.narrow.shared), (12, 8 * (4 + 4)));
        // Depth 16: the loops turn twice.
        let error = super::cost("f_small_bf16", &sass(), 16).unwrap_err();
        assert!(error.contains("as many copies"), "{error}");
    }

    #[test]
    fn loads_into_registers_are_copies_where_none_is_asynchronous() {
        let sass = sass().replace("LDGSTS.E.BYPASS.128 [R4],", "LDG.E.128 R4,");
        let sass = sass.replace("LDGSTS.E [R4],", "@!P4 LDG.E R4,");
        // A load is no access to shared memory; loads in a loop are not counted.
        let error = cost("f_small_bf16", &sass, 8).unwrap_err();
        assert!(error.contains("as many copies"), "{error}");
        let cost = cost("f_small_bf16", &sass.replace("@P2 BRA 0x40", "NOP"), 8).unwrap();
        assert_eq!((cost.wide.slots, cost.wide.shared), (11, 8 * (1 + 4)));
        assert_eq!((cost.narrow.slots, cost.narrow.shared), (12, 8 * 4));
    }

    #[test]
    fn a_kernel_without_a_loop_is_an_error() {
        let error = cost("f_bf16", "Function : f_bf16\n /*0000*/ EXIT ;\n", 16).unwrap_err();
        assert_eq!(error, "f_bf16: no loop with HMMA and a barrier");
    }

    #[test]
    fn a_name_has_its_tile() {
        assert_eq!(tile_of("conv_forward_bf16"), [128, 128]);
        assert_eq!(tile_of("conv_forward_128x96_bf16"), [128, 96]);
    }
}
