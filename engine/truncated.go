package engine

import (
	"debug/elf"
	"errors"
	"io"
	"os"
	"slices"
)

var errTruncated = errors.New("the file is truncated")

// truncated reports whether an ELF file ends before what it says is to be mapped into memory: the
// loader maps what is not there all the same, and touching it kills the program.
func truncated(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false // which the loader says better
	}
	defer f.Close()
	head := make([]byte, len(elf.ELFMAG))
	if _, err := io.ReadFull(f, head); err != nil || string(head) != elf.ELFMAG {
		return false
	}
	library, err := elf.NewFile(f)
	if err != nil {
		return true // the section headers are at the end
	}
	size, err := f.Seek(0, io.SeekEnd)
	return err == nil && slices.ContainsFunc(library.Progs, func(p *elf.Prog) bool {
		return p.Type == elf.PT_LOAD && p.Off+p.Filesz > uint64(size)
	})
}
