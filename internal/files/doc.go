// Package files writes files that appear whole or not at all, whatever ends the program, and keeps
// temporary ones apart from those that an earlier run has left.
//
// In goes a folder and what is to be written; out comes a [Temp], which takes its name once it is
// complete. Temporary files are locked while their process lives: one that is not locked any more
// was left behind, and [Leftovers] finds it.
package files
