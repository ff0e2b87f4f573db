// Package memory says how much memory the process has used.
package memory
