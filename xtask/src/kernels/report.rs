//! What the compiler made of each kernel.

/// A kernel on one generation of GPUs.
#[derive(Debug, Default, PartialEq)]
pub struct Usage {
    kernel: String,
    arch: String,
    registers: u32,
    shared_bytes: u32,
    spilled_bytes: u32,
}

/// Stands above the rows.
pub const HEADER: &str =
    "kernel                               registers    shared   spilled (all sm)";

/// Reads what `ptxas -v` says.
pub fn usages(log: &str) -> Vec<Usage> {
    let mut usages: Vec<Usage> = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let mut names = rest.split('\'');
            let kernel = names.next().unwrap_or_default().to_string();
            let arch = names.nth(1).unwrap_or_default().to_string();
            usages.push(Usage { kernel, arch, ..Usage::default() });
        }
        let Some(usage) = usages.last_mut() else { continue };
        for (text, into) in [
            (" registers", &mut usage.registers),
            (" bytes smem", &mut usage.shared_bytes),
            (" bytes spill stores", &mut usage.spilled_bytes),
        ] {
            if let Some(number) = number_before(line, text) {
                *into = number;
            }
        }
    }
    usages
}

fn number_before(line: &str, text: &str) -> Option<u32> {
    line.split_once(text)?.0.rsplit([' ', ',']).next()?.parse().ok()
}

/// Prints a row a kernel, its largest numbers over all GPUs; gives back what is wrong.
pub fn print(usages: &[Usage]) -> Vec<String> {
    let mut names: Vec<&str> = usages.iter().map(|usage| usage.kernel.as_str()).collect();
    names.dedup();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let of_it = || usages.iter().filter(|usage| usage.kernel == name);
        let most = |number: fn(&Usage) -> u32| of_it().map(number).max().unwrap_or(0);
        let [registers, shared, spilled] =
            [most(|u| u.registers), most(|u| u.shared_bytes), most(|u| u.spilled_bytes)];
        println!("{name:<36} {registers:>9} {shared:>9} {spilled:>9}");
    }
    let spilled = usages.iter().filter(|usage| usage.spilled_bytes > 0);
    spilled
        .map(|u| format!("{} spills {} bytes on {}", u.kernel, u.spilled_bytes, u.arch))
        .collect()
}

/// Kernels that are named for the numbers of a tensor core.
pub fn tensor_core_kernels(usages: &[Usage]) -> Vec<&str> {
    let is_one = |name: &&str| name.ends_with("_tf32") || name.ends_with("_bf16");
    let mut names: Vec<&str> =
        usages.iter().map(|usage| usage.kernel.as_str()).filter(is_one).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Which of `kernels` have no tensor-core instruction in `sass`.
pub fn without_products(kernels: &[&str], sass: &str) -> Vec<String> {
    let functions: Vec<(&str, &str)> = sass
        .split("Function : ")
        .skip(1)
        .map(|text| text.split_once('\n').unwrap_or((text, "")))
        .collect();
    let has_one = |kernel: &str| {
        let body = functions.iter().find(|(name, _)| name.trim() == kernel);
        body.is_some_and(|(_, body)| body.contains("HMMA") || body.contains("HGMMA"))
    };
    let lacking = kernels.iter().filter(|kernel| !has_one(kernel));
    lacking.map(|kernel| format!("{kernel} has no HMMA instruction on sm_90")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
ptxas info    : Compiling entry function 'lrn_forward' for 'sm_90'
ptxas info    : Function properties for lrn_forward
    8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads
ptxas info    : Used 18 registers, used 1 barriers, 512 bytes smem, 400 bytes cmem[0]
ptxas info    : Compiling entry function 'gemm_bf16' for 'sm_90'
ptxas info    : Used 255 registers, used 0 barriers
";

    #[test]
    fn the_compilers_words_are_read() {
        let usages = usages(LOG);
        assert_eq!((usages[0].registers, usages[0].shared_bytes), (18, 512));
        assert_eq!((usages[1].kernel.as_str(), usages[1].registers), ("gemm_bf16", 255));
        assert_eq!(print(&usages), ["lrn_forward spills 4 bytes on sm_90"]);
        assert_eq!(tensor_core_kernels(&usages), ["gemm_bf16"]);
    }

    #[test]
    fn a_product_without_tensor_cores_is_found() {
        let sass = "Function : gemm_bf16\n  HMMA.16816.F32.BF16 R4\nFunction : conv_tf32\n FFMA\n";
        let wrong = without_products(&["gemm_bf16", "conv_tf32"], sass);
        assert_eq!(wrong, ["conv_tf32 has no HMMA instruction on sm_90"]);
    }
}
