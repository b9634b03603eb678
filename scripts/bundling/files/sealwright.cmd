@echo off
rem Starts Sealwright from this folder, without installation: sealwright.cmd verify FILE --trust TRUST
rem Needs Python 3.11 to 3.14, 64 bits: python\python.exe in this folder (its "embeddable package", unpacked), or the machine's own.
rem It is looked for in PATH only: a program of that name in the current folder is not started.
setlocal DisableDelayedExpansion
set "python="
set "newest="
if exist "%~dp0python\python.exe" set "python=%~dp0python\python.exe"
if not defined python call :find py.exe -3
if not defined python call :find python.exe
if not defined python goto missing
"%python%" %newest% -I -S -B "%~dp0launch.py" %*
exit /b %ERRORLEVEL%
:missing
echo sealwright: Python 3.11 or newer is needed. Install it, or unpack its embeddable package into "%~dp0python". 1>&2
exit /b 2
:find
set "python=%~$PATH:1"
set "newest=%2"
exit /b 0
