// Package job holds what compressing and fusing have in common: [Options] say what data a run works
// with and how far it goes, a [Report] says what was done with which samples.
//
// compress.Options and fuse.Options embed these Options, their Reports embed this Report.
package job
