# FHS: the command in bin, the roles in libexec/bridgebell, samples and documents in share.
install(TARGETS bridgebell RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS bridgebell-listener bridgebell-dispatcher bridgebell-sender
        RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/bridgebell)
install(DIRECTORY conf/samples/ DESTINATION ${CMAKE_INSTALL_DATADIR}/bridgebell/samples)
install(FILES README.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")
install(DIRECTORY docs/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 FILES_MATCHING PATTERN "*.1")
install(DIRECTORY docs/man/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man5 FILES_MATCHING PATTERN "*.5")
